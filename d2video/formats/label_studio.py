"""Label Studio's export "JSON": boxes in videos, or boxes and masks in images."""

import os
from pathlib import Path
from typing import Literal

from d2video.fetching import around
from d2video.formats import label_studio_image, label_studio_video
from d2video.formats.faults import EntryError, Report, refuse, reporting
from d2video.formats.label_studio_tasks import Task, is_label_studio, read_tasks
from d2video.formats.labels.footage import Footage, find_footage
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.labels.recognition import only_json_file
from d2video.utils.errors import UserError


@label_format("label_studio", lambda seen: is_label_studio(seen.content))
def read_label_studio(
    root: str,
    report: Report = refuse,
    *,
    image_root: str | None = None,
    fps: float | None = None,
    first_frame: Literal[0, 1] = 1,
) -> LabelSet:
    """Read the tasks of a project.

    Of videos, every rectangle is a track; between its keyframes it is where Label Studio shows it. Images
    have rectangles, polygons, ellipses and masks of the brush, without tracks. Of rotated rectangles the
    upright boxes around them are taken.

    Args:
        root: the JSON file, or a folder that holds no other one.
        image_root: the folder of the videos or images, or the file of the only video. None: the folder
            of the JSON file. They have the name in the task's data, with or without the prefix of
            uploaded files.
        fps: frames a second by which Label Studio counted, as its labelling configuration says (24 if
            that says nothing). It is only needed, and used, for videos that have another number of
            frames than Label Studio has counted.
        first_frame: the number of a video's first frame; 0 in files of programs that count so.

    Raises:
        UserError: it is another file, as JSON-MIN, or has videos and images.
    """
    if fps is not None and not fps > 0:
        raise UserError(f"fps is {fps}: give the frames a second, or leave it out")
    path = only_json_file(root)
    tasks = read_tasks(path, report)
    if len({task.is_video for task in tasks}) > 1:
        raise UserError(
            f"{path} has tasks of videos and of images: export them to two files, or split the list"
        )
    labels = LabelSet(path, report, tracked=any(task.is_video for task in tasks))
    taken: dict[str, str] = {}  # files -> tasks
    folder = os.path.dirname(path) or "."
    images = around(folder) if image_root is None else [image_root]
    for task in tasks:
        with reporting(report, path, "task", task.id):
            if not task.is_video:
                frame, name = label_studio_image.find_image(task, images)
                _check_untaken(frame, task, taken)
                label_studio_image.add_task(labels, task, name, frame)
                continue
            footage = find_footage(path, folder, task.names, image_root, is_only=len(tasks) == 1)
            _check_untaken(footage.path, task, taken)
            label_studio_video.add_task(labels, task, _name(footage), footage, fps, first_frame)
    return labels.finished()


def _check_untaken(path: str, task: Task, taken: dict[str, str]) -> None:
    before = taken.setdefault(path, task.id)
    if before != task.id:
        raise EntryError(
            f"its {'video' if task.is_video else 'image'} is {path}, and so is that of task {before}: give "
            "the folder that holds all (image_root), or remove one"
        )


def _name(footage: Footage) -> str:
    path = Path(footage.path)
    return path.stem if footage.is_video_file else path.name

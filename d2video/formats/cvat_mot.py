"""CVAT's export in the layout of the MOTChallenge ("MOT 1.1").

``gt/gt.txt`` has nine columns, ``frame,id,left,top,width,height,flag,class,visibility``. Unlike in the
MOTChallenge corners count from 0, and the classes are the lines of ``gt/labels.txt``.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from d2video.formats.faults import Doubt, EntryError, Report, refuse, reporting
from d2video.formats.geometry.box_layout import layout_doubt
from d2video.formats.labels.footage import find_footage, number_images
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_set import LabelledVideo, LabelSet
from d2video.formats.mot_ground_truth import without_sizes
from d2video.formats.mot_labels import read_class_numbers
from d2video.formats.mot_sequence import is_cvat_export, sequence_of_gt
from d2video.formats.mot_text import TextTable, read_table
from d2video.utils.errors import UserError
from d2video.video.frame_names import file_of_frame, split_frame_name

_LEAST = 0.8  # the part of a video up to its last box; less is doubted
_LAYOUT = "frame,id,left,top,width,height,flag,class,visibility"


@label_format("cvat_mot", lambda seen: _export(seen.path) is not None)
def read_cvat_mot(
    root: str,
    report: Report = refuse,
    *,
    image_root: str | None = None,
    tracked: bool = True,
    start_frame: int = 0,
    frame_step: int = 1,
) -> LabelSet:
    """Read an export.

    The video has the name of the folder. Images called by numbers are the frames with these numbers.
    Others, and the frames of a video file, are counted from 1 on. If no box has a track (CVAT writes -1
    as its id), the frames are single images.

    Args:
        root: the folder with ``gt`` and ``img1``, or ``gt/gt.txt`` in it.
        report: takes the faults of rows; boxes in another layout; and what is left out.
        image_root: the frames: a folder of images or a video file, or a folder that holds either by the name
            of the export. None: ``img1``, or a video file beside ``gt``.
        tracked: False: every frame is a single image. This keeps boxes without a track, too.
        start_frame, frame_step: of the task in CVAT, which the file does not hold: the first labelled frame
            of a video file, from 0 on, and N where every N-th frame after it was labelled.

    Raises:
        UserError: the file is missing or not in the layout, or the frames are not found.
    """
    if start_frame < 0 or frame_step < 1:
        raise UserError(
            f"start_frame {start_frame}, frame_step {frame_step}: give those of the task"
        )
    folder = _export(root)
    if folder is None:
        raise UserError(
            f"{root} is not an export of CVAT with gt/gt.txt and gt/labels.txt: correct it"
        )
    file = os.path.join(folder, "gt", "gt.txt")
    names = {number: name for name, number in read_class_numbers(file).items()}
    labels = LabelSet(root, report, classes=[*names.values()])
    video = _video(labels, folder, file, image_root, slice(start_frame, None, frame_step))
    table = _read_rows(video, file, report)
    _doubt_late_frames(video, table)
    has_track = table.column(1) >= 0
    _add_rows(video, table.select(has_track), names)
    loose = table.select(~has_track)
    if tracked and (labels.tally.used or not len(loose.lines)):
        labels.tally.leave_out(
            "without a track (id -1)",
            len(loose.lines),
            "tracked=False reads every frame as a single image, with them",
        )
        return labels.finished()
    labels.tracked = False
    _add_rows(video, loose, names)
    if tracked:
        text = (
            "no box has a track (all ids are -1), and the frames are read as single images, for a model such "
            "as DETR: for tracks draw them as tracks in CVAT"
        )
        report(Doubt(root, text))
    labels.as_images()
    return labels.finished()


def _export(path: str) -> str | None:
    """The folder that is an export of CVAT: itself or the one of its gt.txt; None: it is not one."""
    folder = sequence_of_gt(path)
    return None if folder is None or not is_cvat_export(folder) else folder


def _video(
    labels: LabelSet, folder: str, file: str, image_root: str | None, steps: slice
) -> LabelledVideo:
    name = os.path.basename(os.path.abspath(folder))
    footage = find_footage(file, folder, ["img1", name, ""], image_root, names_video=False)
    if footage.is_video_file:
        found = dict(enumerate(footage.frames[steps], 1))
    elif (steps.start, steps.step) != (0, 1):
        raise UserError(
            f"start_frame and frame_step are of a video file, and the frames of {name} are images: leave "
            "them out"
        )
    else:
        numbered = number_images(map(Path, footage.frames))
        found = numbered or dict(enumerate(footage.frames, 1))
    return labels.add_video(name, [*found.values()], footage.size, [*found])


def _read_rows(video: LabelledVideo, file: str, report: Report) -> TextTable:
    table = read_table(file, range(9, 10), _LAYOUT, report).in_sequence(video.numbers)
    for column, name in ((1, "id"), (6, "flag"), (7, "class")):
        table = table.with_integers(column, name)
    table = without_sizes(table, (table.values[:, 4:6] < 0).any(axis=1))
    boxes = table.values[:, 2:6]
    doubt = layout_doubt(file, boxes, np.full((len(boxes), 2), video.size))
    if doubt is not None:
        report(doubt)
    return table


def _doubt_late_frames(video: LabelledVideo, table: TextTable) -> None:
    """The file does not say how many frames a task had, which those of a video file may be more than."""
    last, count = int(table.column(0).max(initial=0)), len(video.frames)
    if 0 < last < _LEAST * count and split_frame_name(video.frames[0]) is not None:
        text = (
            f"the last box is in frame {last}, and {file_of_frame(video.frames[0])} has {count}, of which "
            "the later ones are read as frames without objects: if the task in CVAT began later, skipped "
            "frames or ended before, give start_frame and frame_step, or the images that CVAT saved"
        )
        video.labels.report(Doubt(table.path, text))


def _add_rows(video: LabelledVideo, table: TextTable, classes: dict[int, str]) -> None:
    rows: Sequence[list[float]] = table.values.tolist()
    for line, (frame, track, x, y, w, h, flag, number, visibility) in zip(
        table.lines.tolist(), rows, strict=True
    ):
        with reporting(table.report, table.path, "line", line):
            if number not in classes:
                raise EntryError(
                    f"the class {number:g} is not among the {len(classes)} of labels.txt; correct it"
                )
            if not 0 <= visibility <= 1:
                raise EntryError(f"the visibility {visibility:g} is not from 0 to 1; correct it")
            video.add(
                int(frame),
                classes[int(number)],
                track=int(track) if track >= 0 else None,
                box=(x, y, w, h),
                ignored=flag == 0,
                visibility=visibility,
            )

"""The frames of CVAT's tasks: images called ``frame_000010.PNG``, or a video file."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from d2video.formats.cvat_meta import Task
from d2video.formats.faults import Report, Tally
from d2video.formats.labels.footage import Footage, find_footage, number_images
from d2video.utils.errors import UserError

_FRAME_NAME = re.compile(r"(?:frame_)?([0-9]{1,15})")


def frame_number(path: Path) -> int | None:
    """The number of a frame in its video, by the name of its image; None if it has none."""
    match = _FRAME_NAME.fullmatch(path.stem)
    return int(match[1]) if match else None


def task_frames(
    task: Task, path: str, image_root: str | None, report: Report, *, is_only: bool
) -> tuple[dict[int, str], tuple[int, int]]:
    """The frames of a task by their numbers in its video, ascending, and their size.

    Args:
        path: of the XML file.
        image_root, is_only: see :func:`~d2video.formats.labels.footage.find_footage`.
        report: takes what is left out: frames without an image, such as those deleted in CVAT, and those
            that do not belong to the task.

    Raises:
        UserError: they are not found, are of another size or fewer than the labels are for, or the
            images of a task of images are not as many as the labels are for, or in no clear order.
    """
    folder, stem = os.path.dirname(os.path.abspath(path)), Path(path).stem
    names = [*filter(None, [task.source, stem, task.name, os.path.basename(folder)])]
    if task.subset:
        names = [f"images/{task.subset}", *names]
    else:  # a file that was renamed may lie beside those of other tasks
        names = ["images", *names, ""] if stem == "annotations" else [*names, "images", ""]
    footage = find_footage(
        path, folder, names, image_root, is_only=is_only, names_video=bool(task.source)
    )
    if task.size is not None:
        footage.check_size(task.size, path)
    if task.is_video or footage.is_video_file:
        found = _of_video(footage, task, path)
    else:
        found = _of_images(footage, task, path)
    wanted: Sequence[int] = [*found] if task.numbers is None else task.numbers
    frames = {number: found[number] for number in wanted if number in found}
    labelled = f"{path} labels the frames {wanted[0]} to {wanted[-1]}" if wanted else path
    if footage.is_video_file and len(frames) < len(wanted):
        raise UserError(
            f"{labelled}, and {footage.path} has {len(found)} frames: give the video that was labelled "
            "(image_root)"
        )
    if not frames:
        raise UserError(
            f"{labelled}, and no image in {footage.path} has such a number: give the frames that were "
            "labelled (image_root)"
        )
    tally = Tally(path, "frames")
    tally.used = len(frames)
    tally.leave_out("without an image (deleted in CVAT, or missing)", len(wanted) - len(frames))
    if not task.id:  # the folder of a project has those of other tasks
        others = len(found) - len(frames)
        tally.leave_out(f"of {footage.path} that are not in CVAT's task", others)
    tally.tell(report)
    return frames, footage.size


def _of_video(footage: Footage, task: Task, path: str) -> dict[int, str]:
    if footage.is_video_file:
        return dict(enumerate(footage.frames))
    found = number_images(map(Path, footage.frames), frame_number)
    if found is None:
        raise UserError(
            f"{path}: the images in {footage.path} have no frame numbers: name them as CVAT does "
            "(frame_000010.PNG is frame 10), or give the video (image_root)"
        )
    return {number - task.offset: frame for number, frame in found.items()}


def _of_images(footage: Footage, task: Task, path: str) -> dict[int, str]:
    """Images of which the labels say only the places; CVAT sorts as text by default, footage by number."""
    stems = [Path(frame).stem for frame in footage.frames]
    numbers = range(len(stems)) if task.numbers is None else task.numbers
    if len(numbers) != len(stems) or sorted(stems) != stems:
        raise UserError(
            f"{path} labels {len(numbers)} images by their places only, and {footage.path} holds "
            f"{len(stems)}, whose order by number is {'' if sorted(stems) == stems else 'not '}that of their "
            "names: export as 'CVAT for images', which names them"
        )
    return dict(zip(numbers, footage.frames, strict=True))

"""DAVIS, and palette masks in folders as it has them: the number of a pixel is the object.

::

    DAVIS/
        Annotations/480p/<video>/00000.png      (or Annotations_unsupervised; 480p may be missing)
        JPEGImages/480p/<video>/00000.jpg
        ImageSets/2017/train.txt                (names of videos)

The folder of masks, of one resolution or of one video may be given as well. There are no classes. 255
and 254 are regions to ignore; where no file of the set has another number, 255 is the object, as in
DAVIS 2016.
"""

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from d2video.formats.faults import Doubt, Fault, Report, refuse, reporting_video
from d2video.formats.labels.footage import find_footage
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_png import MaskFrame, add_masks, mask_files, read_mask_frames
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.labels.recognition import Seen
from d2video.formats.sa_v_png import mask_folder
from d2video.formats.text import read_lines
from d2video.formats.youtube_vos import is_youtube_vos
from d2video.utils.errors import UserError

_MASK_FOLDERS = ("Annotations", "Annotations_unsupervised")
_IMAGE_FOLDERS = ("JPEGImages", "images", "frames")
_RESOLUTION = re.compile(r"\d+p|Full-Resolution")
_VOID = (254, 255)


def _recognises(seen: Seen) -> bool:
    if not seen.is_folder or mask_folder(seen.path) is not None:
        return False  # as SA-V has them
    if any(
        seen.has(f"{folder}/{below}")
        for folder in _MASK_FOLDERS
        for below in ("*/*.png", "*/*/*.png")
    ):
        return not is_youtube_vos(seen)
    return seen.mode_of_masks == "P"


@label_format("davis", _recognises)
def read_davis(
    root: str,
    report: Report = refuse,
    *,
    image_root: str | None = None,
    videos: Collection[str] | None = None,
    class_name: str = "object",
    split: str | None = None,
    max_id: int = 100,
    first_frame: int = 0,
) -> LabelSet:
    """Read palette masks.

    Args:
        root: DAVIS's folder, or one of masks.
        image_root: the frames, or a folder of them; None: JPEGImages, images or frames beside the masks'
            folder, or a video file with the name of the masks' folder.
        class_name: of all objects.
        split: a list of videos in ImageSets: "2017/train", or "train" if there is only one of that name;
            None: all videos with masks.
        max_id: larger numbers are refused: smoothed masks and grey copies of colours have them.
        first_frame: of a video file, the number in the PNGs' names that its first frame has.

    Raises:
        UserError: there are no masks, those of several resolutions, no frames of them, or no such split.
    """
    masks = _mask_folder(root)
    base = _above(masks)
    folders = _video_folders(masks)
    if split is not None:
        folders = _of_split(folders, os.path.join(base, "ImageSets"), split, masks)
    labels = LabelSet(root, report, classes=[class_name], wanted=videos)
    found = {}
    for name, folder in folders.items():
        if not labels.wants(name):
            continue
        below = Path(folder).relative_to(base).parts
        names = [
            os.path.join(images, *path) for images in _IMAGE_FOLDERS for path in (below[1:], [name])
        ]
        names += [f"{each}.mp4" for each in (name, Path(*below))]  # or another suffix
        if image_root is not None:
            names += [os.path.join(*below[k:]) for k in range(len(below))]
        with reporting_video(report, folder):
            footage = find_footage(folder, base, names, image_root, is_only=len(folders) == 1)
            frames = read_mask_frames(mask_files(folder), footage, report, first_frame=first_frame)
            found[name] = footage.size, [each for each in frames if _is_sound(each, max_id, report)]
    void = _void(found, root, report)
    for name, (size, frames) in found.items():
        add_masks(labels, name, frames, size, lambda value: (class_name, value, value in void))
    return labels.finished()


def _mask_folder(root: str) -> str:
    """The folder of masks: the only one in the root or in folders in it, or else the root."""
    if not os.path.isdir(root):
        raise UserError(f"{root} is not a folder: give the folder of the masks")
    for above in ("", "*/", "*/*/"):
        paths = [each for name in _MASK_FOLDERS for each in sorted(Path(root).glob(above + name))]
        found = [str(path.relative_to(root)) for path in paths if path.is_dir()]
        if len(found) > 1:
            raise UserError(f"{root} has {' and '.join(found)}: give the path of one of them")
        if found:
            return os.path.join(root, *found)
    return root


def _above(masks: str) -> str:
    """The folder that holds the masks' and the images'."""
    absolute = os.path.abspath(masks)
    for folder in (absolute, *map(str, Path(absolute).parents)):
        if os.path.basename(folder) in _MASK_FOLDERS:
            return os.path.dirname(folder)
    return os.path.dirname(absolute)


def _video_folders(masks: str) -> dict[str, str]:
    """Folders of PNGs by the names of their videos, of one resolution.

    Raises:
        UserError: there are none, or of several resolutions.
    """
    folders: dict[tuple[str, ...], str] = {}
    for folder, below, _ in os.walk(os.path.abspath(masks)):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if mask_files(folder):
            parts = Path(folder).relative_to(os.path.abspath(masks)).parts
            folders[parts or (os.path.basename(folder),)] = folder
    sizes = sorted(
        {parts[0] for parts in folders if len(parts) > 1 and _RESOLUTION.fullmatch(parts[0])}
    )
    if len(sizes) > 1:
        raise UserError(f"{masks} has masks in {' and '.join(sizes)}: give the path of one of them")
    if sizes:
        folders = {parts[1:]: path for parts, path in folders.items() if parts[0] in sizes}
    if not folders:
        raise UserError(f"{masks} has no folder with PNGs: give the folder of the masks")
    return {"/".join(parts): path for parts, path in folders.items()}


def _of_split(folders: dict[str, str], lists: str, split: str, masks: str) -> dict[str, str]:
    """The videos of a list in ImageSets."""
    paths = {
        p.relative_to(lists).with_suffix("").as_posix(): str(p) for p in Path(lists).rglob("*.txt")
    }
    found = [name for name in sorted(paths) if f"/{name}".endswith(f"/{split}")]
    if not paths:
        raise UserError(f"split is '{split}', but no file in {lists} lists videos: leave out split")
    if len(found) != 1:
        known = ", ".join(found or sorted(paths))
        raise UserError(f"split is '{split}', and {lists} has {known}: name one of them")
    # A line is a name, or, in DAVIS 2016, the paths of an image and its mask.
    lines = [line.split()[0] for line in read_lines(paths[found[0]]) if line.strip()]
    names = dict.fromkeys(Path(each).parent.name if "/" in each else each for each in lines)
    for name in names:
        if name not in folders:
            raise UserError(
                f"{paths[found[0]]} lists {name}, of which {masks} has no masks: fetch them"
            )
    return {name: folders[name] for name in names}


def _is_sound(frame: MaskFrame, max_id: int, report: Report) -> bool:
    beyond = [value for value in frame.masks if value > max_id and value not in _VOID]
    if beyond:
        text = (
            f"{frame.path} has the number {beyond[0]}, above max_id, {max_id}: if it was smoothed, or "
            "made grey from colours, use the original; or set max_id"
        )
        report(Fault(frame.path, "file", None, text))
    return not beyond


def _void(
    videos: Mapping[str, tuple[tuple[int, int], list[MaskFrame]]], root: str, report: Report
) -> tuple[int, ...]:
    """The numbers of regions to ignore."""
    values = {value for _, frames in videos.values() for each in frames for value in each.masks}
    if values == {255}:
        text = "its masks have 0 and 255 only: 255 is read as the object, as in DAVIS 2016"
        report(Doubt(root, text))
        return ()
    return _VOID

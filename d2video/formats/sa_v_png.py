"""SA-V's val and test splits: a PNG for each object and every fourth frame; objects may overlap.

::

    sav_val/
        Annotations_6fps/<video>/<object>/00004.png
        JPEGImages_24fps/<video>/00004.jpg

A PNG has 0 and one other number. An object without a PNG of a frame that others have is absent.
"""

import os
from pathlib import Path
from typing import Any

from d2video.formats.faults import EntryError, reporting, reporting_video
from d2video.formats.labels.footage import Footage, find_footage
from d2video.formats.labels.label_png import MaskFrame, add_masks, mask_files, read_mask_frames
from d2video.formats.labels.label_set import LabelSet
from d2video.utils.whole_numbers import whole_number
from d2video.video.image_io import visible_folders

_MASKS, _IMAGES = "Annotations_6fps", "JPEGImages_24fps"


def mask_folder(root: str) -> str | None:
    """The folder of masks: one in the given one, or that; None if there is none."""
    root = os.path.abspath(root)
    places = (os.path.join(root, _MASKS), root)
    return next((p for p in places if os.path.basename(p) == _MASKS and os.path.isdir(p)), None)


def add_png_videos(labels: LabelSet, masks: str, image_root: str | None, class_name: str) -> None:
    """Add the videos of a folder of masks.

    Raises:
        UserError: the frames of one are missing.
    """
    folders = visible_folders(masks)
    for folder in folders:
        if not labels.wants(folder.name):
            continue
        names = [os.path.join(_IMAGES, folder.name), *([] if image_root is None else [folder.name])]
        with reporting_video(labels.report, str(folder)):
            footage = find_footage(
                str(folder), os.path.dirname(masks), names, image_root, is_only=len(folders) == 1
            )
            frames = _read_frames(folder, footage, labels)
            add_masks(
                labels, folder.name, frames, footage.size, lambda track: (class_name, track, False)
            )


def _read_frames(folder: Path, footage: Footage, labels: LabelSet) -> list[MaskFrame]:
    """The frames of a video, each with the masks of its objects."""
    images: dict[int, str] = {}
    masks: dict[int, dict[int, dict[str, Any]]] = {}
    for inner in visible_folders(folder):
        with reporting(labels.report, str(inner), "file", str(inner)):
            number = whole_number(inner.name)
            if number is None:
                raise EntryError(f"{inner} is not called by the number of an object; rename it")
            for frame in read_mask_frames(mask_files(inner), footage, labels.report):
                if len(frame.masks) > 1:
                    raise EntryError(
                        f"{frame.path} has the numbers {', '.join(map(str, frame.masks))}, and a mask of "
                        "SA-V has one: name the format that it has"
                    )
                images[frame.number] = frame.image
                of_frame = masks.setdefault(frame.number, {})
                for mask in frame.masks.values():
                    of_frame[number] = mask
    return [MaskFrame(str(folder), images[k], k, masks[k]) for k in sorted(images)]

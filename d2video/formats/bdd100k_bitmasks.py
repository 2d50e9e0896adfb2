"""BDD100K's masks of tracks as PNGs: R is the class, G has flags, 256 B + A is the track."""

from pathlib import Path

import numpy as np

from d2video.formats.bdd100k_json import CLASSES
from d2video.formats.faults import EntryError, Report, reporting
from d2video.formats.labels.footage import Footage
from d2video.formats.labels.label_png import mask_files, read_mask_frames
from d2video.formats.labels.label_set import LabelSet
from d2video.video.image_io import read_rgba

_IGNORED, _CROWD, _OCCLUDED = 1, 2, 4


def add_bitmasks(labels: LabelSet, folder: Path, footage: Footage, report: Report) -> None:
    """Add the video of a folder of bitmasks.

    Raises:
        UserError: the frames are the masks.
    """
    frames = read_mask_frames(mask_files(folder), footage, report, read=_numbers)
    if not frames:
        return
    images, numbers = [frame.image for frame in frames], [frame.number for frame in frames]
    video = labels.add_video(folder.name, images, footage.size, numbers)
    for frame in frames:
        for value, mask in frame.masks.items():
            category, flags, track = value >> 24, value >> 16 & 255, value & 0xFFFF
            with reporting(report, frame.path, "object", track):
                ignored = bool(flags & (_IGNORED | _CROWD))
                video.add(
                    frame.number,
                    _name(category, ignored),
                    track=track,
                    segmentation=mask,
                    checked=True,
                    ignored=ignored,
                    visibility=0.0 if flags & _OCCLUDED else 1.0,
                )


def _numbers(path: Path) -> np.ndarray:
    """R, G, B and A of each pixel as one number, int64 (H,W)."""
    red, green, blue, alpha = np.moveaxis(read_rgba(path).astype(np.int64), 2, 0)
    return red << 24 | green << 16 | blue << 8 | alpha


def _name(category: int, ignored: bool) -> str | None:
    if 1 <= category <= len(CLASSES):
        return CLASSES[category - 1]
    if category == 0 and ignored:
        return None
    raise EntryError(
        f"its class, {category}, is not one of BDD100K's 1 to {len(CLASSES)}; correct the file"
    )

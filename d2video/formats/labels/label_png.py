"""Masks as PNGs whose pixels are numbers of objects: a folder a video, a file a frame.

The number is the index into the palette, or the grey value of 8 or 16 bits; 0 is background. Colours
mean nothing. Frames without a file are not labelled.
"""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from d2video.formats.faults import EntryError, Fault, Report, reporting
from d2video.formats.geometry.rle import encode_labels
from d2video.formats.labels.footage import Footage
from d2video.formats.labels.label_set import LabelSet
from d2video.utils.errors import UserError
from d2video.video.image_io import read_values, visible_files

_LAST_NUMBER = re.compile(r"(\d{1,9})$", re.ASCII)
_FEW = 3  # faults that are reported one by one
# Decompression, most of the time, runs beside Python.
_THREADS = min(os.cpu_count() or 1, 8)


@dataclass(frozen=True)
class MaskFrame:
    """A frame and what its PNG holds.

    Attributes:
        path: of the PNG.
        image: the frame, an image file or the name of a video's frame.
        number: of the frame: that in the PNG's name, or else the place among the frames.
        masks: compressed RLE by the number of the object.
    """

    path: str
    image: str
    number: int
    masks: dict[int, dict[str, Any]]


def mask_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The PNGs of a folder in natural order."""
    return visible_files(folder, {".png"})


def read_mask_frames(
    paths: Sequence[Path],
    footage: Footage,
    report: Report,
    *,
    first_frame: int = 0,
    others_are_empty: bool = False,
    read: Callable[[Path], np.ndarray] = read_values,
) -> list[MaskFrame]:
    """Read the PNGs of one video, in the order of its frames.

    Args:
        paths: of the PNGs, see :func:`mask_files`.
        footage: the frames. Image files belong to the PNGs of the same name.
        report: takes the faults of files: unreadable, colours, another size than the frames, or no
            frame of this name or number, or one that another file is of. Many alike are one report.
        first_frame: of a video file, the number in the PNGs' names that its first frame has.
        others_are_empty: image files without a PNG are labelled frames without objects.
        read: gives the number of each pixel of a PNG, whole numbers (H,W).

    Raises:
        UserError: the frames are the masks.
    """
    if paths and os.path.samefile(paths[0].parent, footage.path):
        raise UserError(f"{footage.path} holds the masks: give the frames' folder (image_root)")
    places = _Places(footage, first_frame)
    paths_of: dict[int, Path] = {}
    frames: dict[int, MaskFrame] = {}
    misplaced: list[str] = []
    damaged: list[str] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        masks = [pool.submit(_read_masks, path, footage.size, read) for path in paths]
        for path, found in zip(paths, masks, strict=True):
            with reporting(_texts_to(misplaced), str(path), "file", str(path)):
                index = places.index_of(path)
                if index in paths_of:
                    raise EntryError(f"{path} and {paths_of[index]} are of one frame; remove one")
                paths_of[index] = path
                with reporting(_texts_to(damaged), str(path), "file", str(path)):
                    frames[index] = places.frame(index, str(path), found.result())
    for texts in (misplaced, damaged):
        if len(texts) > _FEW:
            texts[:] = [f"{texts[0]}; {len(texts) - 1} more files of {paths[0].parent} are alike"]
        for text in texts:
            report(Fault(str(paths[0].parent), "file", None, text))
    if others_are_empty and not footage.is_video_file:
        for index in {*range(len(footage.frames))} - paths_of.keys():
            frames[index] = places.frame(index, footage.frames[index], {})
    return [frames[index] for index in sorted(frames)]


def _texts_to(texts: list[str]) -> Report:
    return lambda fault: texts.append(str(fault))


def _read_masks(
    path: Path, size: tuple[int, int], read: Callable[[Path], np.ndarray]
) -> dict[int, dict[str, Any]]:
    values = read(path)
    if values.shape != size:
        (height, width), (h, w) = values.shape, size
        raise EntryError(
            f"{path} is {width}x{height} and its frame {w}x{h}: give the frames that were labelled "
            "(image_root)"
        )
    return encode_labels(values)


class _Places:
    """Which of the frames a PNG belongs to.

    Attributes:
        numbers: of all frames.
    """

    def __init__(self, footage: Footage, first_frame: int) -> None:
        self.footage = footage
        self.numbers = _frame_numbers(footage, first_frame)
        self.by_stem = {Path(frame).stem: index for index, frame in enumerate(footage.frames)}

    def index_of(self, path: Path) -> int:
        """The place of a PNG's frame among all.

        Raises:
            EntryError: it belongs to none of the frames.
        """
        if not self.footage.is_video_file:
            if path.stem not in self.by_stem:
                raise EntryError(
                    f"{path}: {self.footage.path} has no image {path.stem}: give the frames that were "
                    "labelled (image_root)"
                )
            return self.by_stem[path.stem]
        number = _last_number(path.stem)
        if number is None:
            raise EntryError(f"{path}: its name does not end in the number of its frame; rename it")
        if not self.numbers[0] <= number <= self.numbers[-1]:
            raise EntryError(
                f"{path}: {self.footage.path} has {len(self.numbers)} frames, from {self.numbers[0]} on: "
                "give the video that was labelled (image_root), or first_frame"
            )
        return number - self.numbers[0]

    def frame(self, index: int, path: str, masks: dict[int, dict[str, Any]]) -> MaskFrame:
        return MaskFrame(path, self.footage.frames[index], self.numbers[index], masks)


def _frame_numbers(footage: Footage, first_frame: int) -> Sequence[int]:
    """The numbers of all frames: those at the ends of the images' names if they ascend, or else their
    places from 0 on; of a video file from ``first_frame`` on."""
    if footage.is_video_file:
        return range(first_frame, first_frame + len(footage.frames))
    numbers = [_last_number(Path(frame).stem) for frame in footage.frames]
    known = [number for number in numbers if number is not None]
    ascend = len(known) == len(numbers) and all(a < b for a, b in pairwise(known))
    return known if ascend else range(len(numbers))


def _last_number(stem: str) -> int | None:
    match = _LAST_NUMBER.search(stem)
    return int(match[1]) if match else None


def add_masks(
    labels: LabelSet,
    name: str,
    frames: Sequence[MaskFrame],
    size: tuple[int, int],
    meaning: Callable[[int], tuple[str | None, int, bool]],
) -> None:
    """Add a video and its objects.

    Args:
        meaning: class, track and whether it is to be ignored, of a PNG's number. It may raise an
            EntryError.
    """
    if not frames:
        return
    images, numbers = [frame.image for frame in frames], [frame.number for frame in frames]
    video = labels.add_video(name, images, size, numbers)
    for frame in frames:
        for value, mask in frame.masks.items():
            with reporting(labels.report, frame.path, "object", value):
                category, track, ignored = meaning(value)
                video.add(
                    frame.number,
                    category,
                    track=track,
                    segmentation=mask,
                    checked=True,
                    ignored=ignored,
                )

"""One sequence in the MOTChallenge's folder layout, which DanceTrack and MOTS20 share.

::

    MOT17-02-FRCNN/
        seqinfo.ini        (what the images do not tell)
        img1/000001.jpg ...
        gt/gt.txt          (not in test splits)
        det/det.txt        (public detections, where there are any)

Images whose names are numbers have these as frame numbers: they may start anywhere and have gaps.
Others are numbered from 1 in the order of their names, as CVAT does.
"""

import configparser
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

from detectron2.utils.logger import log_first_n

from d2video.formats.labels.footage import number_images
from d2video.formats.paths import leaves_folder
from d2video.utils.errors import UserError
from d2video.utils.limits import MAX_VIDEO_FRAMES, size_fault
from d2video.video.image_io import (
    IMAGE_SUFFIXES,
    exif_advice,
    holds_files,
    list_images,
    read_image_size,
    visible_folders,
)

_LAYOUT = (
    "section [Sequence] with seqLength, imWidth, imHeight, frameRate, imDir and imExt, each of which "
    "may be left out where the images tell it"
)


@dataclass(frozen=True)
class SeqInfo:
    """What a ``seqinfo.ini`` says, None for what it does not.

    Attributes:
        image_dir: folder of the images, below the sequence's.
        frame_rate: in frames a second.
        num_frames: of the sequence.
        height, width: in pixels.
        image_suffix: of the images' names, in lower case: ".jpg".
    """

    image_dir: str | None = None
    frame_rate: float | None = None
    num_frames: int | None = None
    height: int | None = None
    width: int | None = None
    image_suffix: str | None = None


@dataclass(frozen=True)
class MOTSequence:
    """A sequence of a split, or the part of it that is in the split.

    Attributes:
        name: of its folder, and of the files of results.
        folder: path.
        gt_file: path; None where there is no ground truth.
        images: paths of all its images, in the order of the frames; None where there is no folder of
            them, which suffices to score results.
        frame_numbers: of all its frames in its files, ascending.
        first: the split's first frame, 0 for that of the sequence.
        num_frames: in the split.
        size: height and width of the images in pixels; None where nothing tells it.
        frame_rate: in frames a second; None where nothing tells it.
    """

    name: str
    folder: str
    gt_file: str | None
    images: tuple[str, ...] | None
    frame_numbers: Sequence[int]
    first: int
    num_frames: int
    size: tuple[int, int] | None
    frame_rate: float | None

    @property
    def split_numbers(self) -> Sequence[int]:
        """The numbers of the split's frames in the sequence's files."""
        return self.frame_numbers[self.first : self.first + self.num_frames]

    @property
    def result_numbers(self) -> Sequence[int]:
        """The numbers of the split's frames in files of results.

        Those of the sequence's files; a part of a sequence begins with the number that the whole has.
        """
        numbers = self.split_numbers
        shift = numbers[0] - self.frame_numbers[0]
        return numbers if shift == 0 else tuple(number - shift for number in numbers)


def is_sequence(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is a sequence, be it a faulty one: it has labels, images or a seqinfo.ini."""
    marks = ("seqinfo.ini", "gt/gt.txt", "det/det.txt")
    marked = any(os.path.isfile(os.path.join(folder, mark)) for mark in marks)
    return marked or bool(_image_folders(folder))


def is_labelled_sequence(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is a sequence in MOTChallenge's layout: it has a gt/gt.txt or a seqinfo.ini."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in ("gt/gt.txt", "seqinfo.ini"))


def is_cvat_export(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder has a gt/gt.txt with CVAT's list of classes, and no seqinfo.ini."""
    names = ("gt/gt.txt", "gt/labels.txt", "seqinfo.ini")
    return [os.path.isfile(os.path.join(folder, name)) for name in names] == [True, True, False]


def sequence_of_gt(path: str) -> str | None:
    """The folder of the sequence whose gt/gt.txt a file is; a folder is itself, any other file None."""
    if os.path.isdir(path):
        return path
    folder, name = os.path.split(os.path.dirname(os.path.abspath(path)))
    return folder if (name, os.path.basename(path)) == ("gt", "gt.txt") else None


def read_seqinfo(folder: str | os.PathLike[str]) -> SeqInfo:
    """Read the ``seqinfo.ini`` of a sequence's folder, if it has one; no image is looked at.

    Raises:
        UserError: the folder is missing, or the file holds a value that cannot be.
    """
    path = os.path.join(folder, "seqinfo.ini")
    if not os.path.isdir(folder):
        raise UserError(f"no folder {folder}: correct the path of the sequence")
    if not os.path.isfile(path):
        return SeqInfo()
    # No interpolation: a % in a name is a character like others.
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with open(path, encoding="utf-8-sig") as file:
            parser.read_file(file)
        section = parser["Sequence"]
        values: dict[str, int | None] = {
            key: int(section[key]) if section.get(key) else None
            for key in ("seqLength", "imWidth", "imHeight")
        }
        rate = float(section["frameRate"]) if section.get("frameRate") else None
    except (configparser.Error, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        reason = f"{reason} is missing" if isinstance(error, KeyError) else reason
        raise UserError(f"{path} cannot be read ({reason}): it needs a {_LAYOUT}") from None
    length, width, height = values.values()
    image_dir, suffix = section.get("imDir") or None, section.get("imExt")
    fault = None if height is None or width is None else size_fault(height, width)
    below = [key for key, value in values.items() if value is not None and value < 1]
    if below:
        fault = f"{below[0]} {values[below[0]]} cannot be"
    elif rate is not None and not 0 < rate < float("inf"):
        fault = f"frameRate {rate:g} cannot be"
    elif length is not None and length > MAX_VIDEO_FRAMES:
        fault = fault or f"seqLength {length} is above the limit of {MAX_VIDEO_FRAMES} frames"
    elif image_dir is not None and leaves_folder(image_dir):
        fault = fault or f"imDir {image_dir} lies outside the sequence"
    if fault:
        raise UserError(f"{path}: {fault}; correct it")
    if suffix:
        suffix = f".{suffix.lower().removeprefix('.')}"
    return SeqInfo(image_dir, rate, length, height, width, suffix or None)


def read_sequence(folder: str, *, needs_images: bool = True) -> MOTSequence:
    """A whole sequence by its ``seqinfo.ini`` and its images; of one image the head is read.

    Args:
        needs_images: False where results are scored: images that are not all there are passed over,
            with a warning, where the seqinfo.ini says how many frames there are.

    Raises:
        UserError: nothing tells how many frames there are; the images have names that give a number
            twice or only some a number; the seqinfo.ini contradicts them, or cannot be read.
    """
    info = read_seqinfo(folder)
    gt_file = os.path.join(folder, "gt", "gt.txt")
    images, size = _list_frames(folder, info, needs_images), None
    if info.height is not None and info.width is not None:
        size = info.height, info.width
    if images is not None:
        size = _check_size(next(iter(images.values())), info)
    elif info.num_frames is None:
        raise UserError(
            f"sequence {folder} has neither images (img1/000001.jpg ...) nor a seqinfo.ini with "
            "seqLength: fetch one of them"
        )
    numbers = range(1, (info.num_frames or 0) + 1) if images is None else _compact([*images])
    return MOTSequence(
        name=os.path.basename(folder),
        folder=folder,
        gt_file=gt_file if os.path.isfile(gt_file) else None,
        images=None if images is None else tuple(images.values()),
        frame_numbers=numbers,
        first=0,
        num_frames=len(numbers),
        size=size,
        frame_rate=info.frame_rate,
    )


def _list_frames(folder: str, info: SeqInfo, needs_images: bool) -> dict[int, str] | None:
    """A sequence's images by frame number, ascending; None without a folder of those needed.

    Raises:
        UserError: as :func:`read_sequence`.
    """
    seqinfo = os.path.join(folder, "seqinfo.ini")
    images = _image_folder(folder, info)
    if images is None:
        return None
    paths = list_images(images)
    suffix = info.image_suffix
    if suffix is not None:
        chosen = [path for path in paths if path.suffix.lower() == suffix]
        if not chosen:
            found = ", ".join(sorted({path.suffix for path in paths}))
            raise UserError(
                f"{seqinfo} says imExt {suffix}, but the {len(paths)} images of {images} are "
                f"{found}: correct imExt or leave it out"
            )
        paths = chosen
    by_number = number_images(paths) or {k: str(path) for k, path in enumerate(paths, 1)}
    if info.num_frames not in (None, len(by_number)):
        missing = [t for t in range(1, (info.num_frames or 0) + 1) if t not in by_number]
        fault = f"that of frame {missing[0]} is missing" if missing else "there are more"
        of_suffix = "" if suffix is None else f" {suffix}"
        fault = (
            f"{seqinfo} says {info.num_frames} frames but {images} holds {len(by_number)}{of_suffix} "
            f"images, {fault}"
        )
        if needs_images:
            raise UserError(f"{fault}: fetch the images or correct seqLength")
        log_first_n(logging.WARNING, f"{fault}: seqLength counts", name=__name__, key="message")
        return None
    return by_number


def _image_folder(folder: str, info: SeqInfo) -> str | None:
    """The folder of a sequence's images: the one named, img1, or the only one with images."""
    found = _image_folders(folder)
    if info.image_dir is not None or "img1" in found:
        named = os.path.join(folder, info.image_dir or "img1")
        return named if os.path.isdir(named) and holds_files(named, IMAGE_SUFFIXES) else None
    if len(found) > 1:
        raise UserError(
            f"sequence {folder} has several folders of images, {' and '.join(found[:2])}: name one as "
            "imDir in its seqinfo.ini"
        )
    return os.path.join(folder, found[0]) if found else None


def _image_folders(folder: str | os.PathLike[str]) -> list[str]:
    """The names of the folders in it that hold images."""
    return [each.name for each in visible_folders(folder) if holds_files(each, IMAGE_SUFFIXES)]


def _check_size(path: str, info: SeqInfo) -> tuple[int, int]:
    """Height and width of an image, which a seqinfo.ini may not contradict."""
    height, width = read_image_size(path)
    stated = info.height or height, info.width or width
    if stated != (height, width):
        advice = exif_advice(path, *stated) or "correct imWidth and imHeight"
        raise UserError(
            f"image {path} is {width}x{height}, but the sequence's seqinfo.ini says "
            f"{stated[1]}x{stated[0]}: {advice}"
        )
    return height, width


def _compact(numbers: list[int]) -> Sequence[int]:
    """Ascending numbers as a range if there are no gaps."""
    whole = range(numbers[0], numbers[-1] + 1)
    return whole if len(whole) == len(numbers) else tuple(numbers)

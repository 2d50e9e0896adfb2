"""One sequence in the MOTChallenge's folder layout, which DanceTrack and MOTS20 share.

::

    MOT17-02-FRCNN/
        seqinfo.ini
        img1/000001.jpg ...
        gt/gt.txt          (not in test splits)
        det/det.txt        (public detections, where there are any)
"""

import configparser
import os
from dataclasses import dataclass

from d2video.formats.paths import leaves_folder
from d2video.utils.errors import UserError
from d2video.utils.limits import MAX_VIDEO_FRAMES, size_fault
from d2video.video.image_io import list_images, read_rgb

_REQUIRED = ("seqLength", "imWidth", "imHeight", "frameRate")
_LAYOUT = f"section [Sequence] with {', '.join(_REQUIRED)} and, if not img1, imDir"


@dataclass(frozen=True)
class SeqInfo:
    """What a ``seqinfo.ini`` says; sizes in pixels, ``frame_rate`` in frames a second.

    The images have ``image_suffix``, or any if it is None.
    """

    image_dir: str
    frame_rate: float
    num_frames: int
    height: int
    width: int
    image_suffix: str | None


@dataclass(frozen=True)
class MOTSequence:
    """A sequence of a split, or the part of it that is in the split.

    Attributes:
        name: of its folder, and of the files of results.
        folder: path.
        gt_file: path; None where there is no ground truth.
        num_frames: in the split.
        first_frame: the split's first frame among those of the files, from 1 on.
        seq_length: frames of the whole sequence, with which its ``gt_file`` is read.
        height, width: of the images, in pixels.
        frame_rate: in frames a second.
    """

    name: str
    folder: str
    gt_file: str | None
    num_frames: int
    first_frame: int
    seq_length: int
    height: int
    width: int
    frame_rate: float


def read_seqinfo(folder: str | os.PathLike[str]) -> SeqInfo:
    """Read the ``seqinfo.ini`` of a sequence's folder; no image is looked at.

    Raises:
        UserError: the folder or the file is missing, or the file lacks a value or holds one that
            cannot be.
    """
    path = os.path.join(folder, "seqinfo.ini")
    if not os.path.isfile(path):
        where = f"{path} is missing" if os.path.isdir(folder) else f"no folder {folder}"
        raise UserError(f"{where}: a sequence's folder needs a seqinfo.ini, {_LAYOUT}")
    # No interpolation: a % in a name is a character like others.
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with open(path, encoding="utf-8-sig") as file:
            parser.read_file(file)
        section = parser["Sequence"]
        length, width, height = (int(section[key]) for key in _REQUIRED[:3])
        rate = float(section["frameRate"])
    except (configparser.Error, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        reason = f"{reason} is missing" if isinstance(error, KeyError) else reason
        raise UserError(f"{path} cannot be read ({reason}): it needs a {_LAYOUT}") from None
    image_dir = section.get("imDir", "img1")
    fault = size_fault(height, width)
    if min(length, width, height) < 1 or not 0 < rate < float("inf"):
        fault = f"{length} frames of {width}x{height} at {rate:g} a second cannot be"
    elif length > MAX_VIDEO_FRAMES:
        fault = fault or f"seqLength {length} is above the limit of {MAX_VIDEO_FRAMES} frames"
    elif leaves_folder(image_dir):
        fault = fault or f"imDir {image_dir} lies outside the sequence"
    if fault:
        raise UserError(f"{path}: {fault}; correct it")
    return SeqInfo(image_dir, rate, length, height, width, section.get("imExt"))


def list_frames(folder: str | os.PathLike[str], info: SeqInfo) -> list[str]:
    """The paths of a sequence's images in order; the first one is read to check its size.

    Raises:
        UserError: the images' folder is missing, their names are not the numbers from 1 to the
            sequence's length, or the first one has another size or cannot be read.
    """
    images = os.path.join(folder, info.image_dir)
    if not os.path.isdir(images):
        raise UserError(
            f"folder {images} is missing: a sequence's images are {info.image_dir}/000001.jpg ..."
        )
    suffix = info.image_suffix
    paths = [p for p in list_images(images) if suffix in (None, p.suffix)]
    by_number: dict[int, str] = {}
    for path in paths:
        if not (path.stem.isascii() and path.stem.isdigit()):
            raise UserError(f"image {path}: name it by its frame's number, or take it away")
        if int(path.stem) in by_number:
            raise UserError(
                f"images {by_number[int(path.stem)]} and {path} are both of frame "
                f"{int(path.stem)}: take one away"
            )
        by_number[int(path.stem)] = str(path)
    wanted = range(1, info.num_frames + 1)
    if by_number.keys() != set(wanted):
        missing = [t for t in wanted if t not in by_number]
        fault = f"that of frame {missing[0]} is missing" if missing else "there are more"
        of_suffix = "" if suffix is None else f" {suffix}"
        raise UserError(
            f"{os.path.join(folder, 'seqinfo.ini')} says {info.num_frames} frames but {images} "
            f"holds {len(by_number)}{of_suffix} images, {fault}: fetch the images or correct seqLength"
        )
    height, width = read_rgb(by_number[1]).shape[:2]
    if (height, width) != (info.height, info.width):
        raise UserError(
            f"image {by_number[1]} is {width}x{height}, but the sequence's seqinfo.ini says "
            f"{info.width}x{info.height}: correct imWidth and imHeight"
        )
    return [by_number[t] for t in wanted]

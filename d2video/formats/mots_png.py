"""Masks whose pixels are 1000 times the class plus the track: of CVAT, KITTI MOTS and MOTSChallenge.

::

    default/                            CVAT's MOTS PNG 1.0
        instances/labels.txt            (a class a line, from 1 on)
        instances/frame_000000.png      (16 bits; none of a frame without objects)
        images/frame_000000.PNG
    KITTI_MOTS/
        instances/0000/000000.png       (class 1 car, 2 pedestrian, 10 to be ignored)
        instances_txt/0000.txt          (frame id class height width rle)
        images/0000/000000.png          (or image_02)

The track of CVAT is the rest of the division by 1000, which may be 0. That of KITTI MOTS is the whole
number, as in its text files. Where a video has a text file, its PNGs are not read.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from d2video.formats.faults import Doubt, EntryError, Report, refuse, reporting, reporting_video
from d2video.formats.labels.footage import Footage, find_footage, number_images
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_png import add_masks, mask_files, read_mask_frames
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.labels.recognition import Seen
from d2video.formats.mot_ground_truth import MOTS_IGNORE_CLASS, read_mots_table
from d2video.formats.text import read_lines
from d2video.utils.errors import UserError
from d2video.video.image_io import image_mode

_PNGS, _TEXTS, _LABELS = "instances", "instances_txt", "labels.txt"
_IMAGES = ("images", "image_02", "training/image_02")
_KITTI = {1: "car", 2: "pedestrian"}
_TRACKS = 1000  # of a class
_NO_SUBSET = "default"  # of CVAT's tasks in no subset


@dataclass(frozen=True)
class _Video:
    """What labels a video.

    Attributes:
        name: unique in the set.
        base: path of the folder of ``instances``.
        below: the video's folder in ``instances``, or "" for that itself.
        path: of its folder of PNGs, or of its text file.
        names: classes by number.
        is_cvat: they are listed by CVAT.
    """

    name: str
    base: str
    below: str
    path: str
    names: dict[int, str]
    is_cvat: bool


def _recognises(seen: Seen) -> bool:
    if not seen.is_folder:
        return False
    if seen.has(f"{_PNGS}/{_LABELS}") or seen.has(f"{_TEXTS}/*.txt"):
        return True
    png = seen.find(f"{_PNGS}/*/*.png")
    if png is None:
        return False
    mode = image_mode(os.path.join(seen.path, png))
    return mode is not None and mode.startswith("I")  # 16 bits


@label_format("mots_png", _recognises)
def read_mots_png(
    root: str,
    report: Report = refuse,
    *,
    image_root: str | None = None,
    videos: Collection[str] | None = None,
    first_frame: int = 0,
) -> LabelSet:
    """Read masks of tracks.

    Frames without a PNG are frames without objects in CVAT's files if their images are there; else they
    are not labelled. A text file labels all frames.

    Args:
        root: the folder of ``instances`` or ``instances_txt``, or one of several such folders (subsets).
        image_root: the frames, or the folder of the videos' frames; None: images or image_02 beside
            instances.
        first_frame: of a video file, the number that its first frame has in the labels: 0, in
            MOTSChallenge 1.

    Raises:
        UserError: there are no such folders, or no frames.
    """
    found = _find_videos(root)
    classes = dict.fromkeys(name for video in found for name in video.names.values())
    labels = LabelSet(root, report, classes=[*classes], wanted=videos)
    for video in found:
        if not labels.wants(video.name):
            continue
        places = [os.path.normpath(os.path.join(folder, video.below)) for folder in _IMAGES]
        if image_root is not None or video.is_cvat:
            subset = os.path.join(os.path.basename(video.base), video.below)
            places += filter(None, [video.name, os.path.normpath(subset), video.below])
        with reporting_video(report, video.path):
            footage = find_footage(
                *(video.path, video.base, places, image_root),
                is_only=len(found) == 1,
                names_video=not video.is_cvat,
            )
            add = _add_text if os.path.isfile(video.path) else _add_pngs
            add(labels, video, footage, first_frame)
    return labels.finished()


def _find_videos(root: str) -> list[_Video]:
    given = Path(os.path.abspath(root))
    inner = sorted(each for each in given.glob("*") if each.is_dir())
    places: list[list[Path]] = [[given], inner]
    if given.name in (_PNGS, _TEXTS):
        places.append([given.parent])
    has_labels = [[p for p in each if _has_labels(p)] for each in places]
    bases: list[Path] = next(filter(None, has_labels), [])
    videos: list[_Video] = []
    for base in bases:
        file = base / _PNGS / _LABELS
        is_cvat = file.is_file()
        names = _KITTI
        if is_cvat:
            lines = [line.strip() for line in read_lines(str(file)) if line.strip()]
            if not lines or len({*lines}) < len(lines):
                raise UserError(f"{file} must have a class a line, each once; correct it")
            names = dict(enumerate(lines, 1))
        for below, path in _label_places(base, is_cvat).items():
            above = base.name if len(bases) > 1 or not below else ""
            if is_cvat and above == _NO_SUBSET and len(bases) == 1:
                above = base.parent.name
            name = "_".join(filter(None, (above, below.replace("/", "_"))))  # a name of files, too
            videos.append(_Video(name, str(base), below, path, names, is_cvat))
    if not videos:
        raise UserError(
            f"{root} has no folder {_PNGS} with PNGs, and no {_TEXTS}: give the folder that has them"
        )
    return videos


def _has_labels(base: Path) -> bool:
    return (base / _PNGS).is_dir() or (base / _TEXTS).is_dir()


def _label_places(base: Path, is_cvat: bool) -> dict[str, str]:
    """Folders of PNGs and text files, by video."""
    found: dict[str, str] = {}
    for folder, below, _ in os.walk(base / _PNGS):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if mask_files(folder):
            relative = Path(folder).relative_to(base / _PNGS).as_posix()
            found["" if relative == "." else relative] = folder
    if is_cvat and not found:  # no frame has an object
        found[""] = str(base / _PNGS)
    return found | {path.stem: str(path) for path in sorted((base / _TEXTS).glob("*.txt"))}


def _add_text(labels: LabelSet, video: _Video, footage: Footage, first_frame: int) -> None:
    images = () if footage.is_video_file else map(Path, footage.frames)
    frames = number_images(images) or dict(enumerate(footage.frames, first_frame))
    table = read_mots_table(video.path, [*frames], footage.size, labels.report)
    added = labels.add_video(video.name, [*frames.values()], footage.size, [*frames])
    columns = (table.lines.tolist(), *(table.column(k).tolist() for k in range(3)), table.texts)
    for line, frame, track, number, mask in zip(*columns, strict=True):
        with reporting(labels.report, video.path, "line", line):
            category = _category(number, video.names)
            added.add(
                frame,
                category,
                track=track,
                segmentation=mask,
                checked=True,  # by read_mots_table
                ignored=category is None,
            )


def _add_pngs(labels: LabelSet, video: _Video, footage: Footage, first_frame: int) -> None:
    frames = read_mask_frames(
        mask_files(video.path),
        footage,
        labels.report,
        first_frame=first_frame,
        others_are_empty=video.is_cvat,
    )
    if video.is_cvat and footage.is_video_file and len(frames) < len(footage.frames):
        missing = len(footage.frames) - len(frames)
        text = (
            f"{missing} of {len(footage.frames)} frames of {footage.path} have no PNG and count as not "
            "labelled, for CVAT may have skipped them or found no object: to use the latter, give the "
            "images that CVAT saved"
        )
        labels.report(Doubt(video.path, text))

    def meaning(value: int) -> tuple[str | None, int, bool]:
        number, track = divmod(value, _TRACKS)
        category = _category(number, video.names)
        return category, track if video.is_cvat else value, category is None

    add_masks(labels, video.name, frames, footage.size, meaning)


def _category(number: int, names: Mapping[int, str]) -> str | None:
    """The class of a number; None for regions to ignore."""
    if number in names:
        return names[number]
    if number == MOTS_IGNORE_CLASS:
        return None
    known = ", ".join(f"{key} {name}" for key, name in names.items())
    raise EntryError(
        f"its class number (a thousandth of its pixels) is {number}, and classes are {known}: correct it, "
        "or name the format that it has"
    )

"""BDD100K's labels of tracks: boxes (box_track_20) and masks (seg_track_20).

::

    labels/box_track_20/train/<video>.json              (a list of frames, 5 a second)
    labels/seg_track_20/rles/train/<video>.json
    labels/seg_track_20/bitmasks/train/<video>/<video>-0000001.png
    images/track/train/<video>/<video>-0000001.jpg      (or images/seg_track_20)

The folder of a split, a JSON file, or a folder around splits may be given. Older files have
other keys and names of classes, and one file may hold several videos, as Scalabel writes it.
"""

import os
import re
from collections.abc import Collection
from pathlib import Path

from d2video.formats.bdd100k_bitmasks import add_bitmasks
from d2video.formats.bdd100k_json import (
    CLASSES,
    Frame,
    Label,
    is_frames,
    read_frame_labels,
    read_frames,
)
from d2video.formats.faults import Fault, Report, refuse, reporting, reporting_video
from d2video.formats.labels.footage import Footage, find_footage
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.labels.recognition import Seen
from d2video.utils.errors import UserError
from d2video.video.image_io import in_natural_order, visible_files

_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


def _recognises(seen: Seen) -> bool:
    if not seen.is_folder:
        return is_frames(seen.json)
    return seen.mode_of_masks == "RGBA" or is_frames(seen.json_of("*.json"))


@label_format("bdd100k", _recognises)
def read_bdd100k(
    root: str,
    report: Report = refuse,
    *,
    image_root: str | None = None,
    videos: Collection[str] | None = None,
    split: str | None = None,
) -> LabelSet:
    """Read BDD100K's tracks.

    Crowds and the classes that the benchmark ignores (other person, other vehicle, trailer) are regions to
    ignore. Occluded objects have visibility 0. A track of several classes becomes one of each.

    Args:
        root: a JSON file, or the folder of a split, or of several.
        image_root: the frames, or a folder of the videos' folders; None: ``images`` beside ``labels``.
        split: the name of its folder; None: the only one.

    Raises:
        UserError: there are no labels, those of several splits, or outlines (poly2d) in place of masks;
            or the frames are not found.
    """
    labels = LabelSet(
        root, report, classes=CLASSES, mixed_tracks=True, benchmark="BDD100K", wanted=videos
    )
    files = _json_files(root, split)
    if files:
        _add_json(labels, files, image_root)
    else:
        folders = _bitmask_folders(root, split)
        for folder in folders:
            if not labels.wants(folder.name):
                continue
            is_only, source = len(folders) == 1, str(folder)
            with reporting_video(report, source):
                footage = _find_footage(folder.parent, source, folder.name, image_root, is_only)
                add_bitmasks(labels, folder, footage, report)
    return labels.finished()


def _json_files(root: str, split: str | None) -> list[Path]:
    if not os.path.isdir(root):
        return [Path(root)]
    found = _of_split(root, {path.parent for path in Path(root).rglob("*.json")}, split)
    return [path for folder in found for path in visible_files(folder, {".json"})]


def _bitmask_folders(root: str, split: str | None) -> list[Path]:
    """The folders of the videos."""
    found = {path.absolute().parent for path in Path(root).rglob("*.[pP][nN][gG]")}
    if not found:
        raise UserError(f"{root} holds neither JSON files nor bitmasks: give those of a split")
    chosen = _of_split(root, {folder.parent for folder in found}, split)
    return in_natural_order(folder for folder in found if folder.parent in chosen)


def _of_split(root: str, folders: Collection[Path], split: str | None) -> list[Path]:
    """The folder of a split, in a list; none if there are no ``folders``."""
    chosen = [folder for folder in folders if split in (None, folder.name)]
    names = ", ".join(sorted(str(each) for each in folders))
    if len(chosen) > 1:
        raise UserError(
            f"{root} holds several splits ({names}): give one of them, or its name (split)"
        )
    if folders and not chosen:
        raise UserError(f"{root} has no split '{split}': it has {names}")
    return chosen


def _add_json(labels: LabelSet, files: list[Path], image_root: str | None) -> None:
    videos = _videos(files, labels.report)
    for name, (path, frames) in videos.items():
        if not labels.wants(name):
            continue
        is_only = len(videos) == 1
        with reporting_video(labels.report, str(path)):
            footage = _find_footage(path.absolute().parent, str(path), name, image_root, is_only)
            _add_video(labels, str(path), name, frames, footage)


def _videos(files: list[Path], report: Report) -> dict[str, tuple[Path, list[Frame]]]:
    """File and frames by the name of the video."""
    videos: dict[str, tuple[Path, list[Frame]]] = {}
    for path in files:
        for frame in read_frames(str(path), report):
            source, frames = videos.setdefault(frame.video, (path, []))
            if source != path:
                raise UserError(f"{path} and {source} have frames of {frame.video}: give one")
            frames.append(frame)
    return videos


def _find_footage(
    folder: Path, source: str, name: str, image_root: str | None, is_only: bool
) -> Footage:
    """The frames of a video whose labels are in the folder of a split."""
    folder = folder.absolute()
    base = next((str(each) for each in folder.parents if (each / "images").is_dir()), str(folder))
    kinds = ["track", "seg_track_20"]
    if "seg_track_20" in folder.parts:
        kinds.reverse()
    places = [f"{above}{kind}/" for above in ("images/", "") for kind in kinds]
    # Of a file of several videos, its own name is the split's.
    splits = (folder.name, Path(source).stem)
    names = [f"{place}{split}/{name}" for split in splits for place in (*places, "")]
    return find_footage(source, base, [*names, name], image_root, is_only=is_only)


def _add_video(
    labels: LabelSet, path: str, name: str, frames: list[Frame], footage: Footage
) -> None:
    """Add a video with its objects."""
    frames.sort(key=lambda frame: frame.number)
    if len({frame.number for frame in frames}) < len(frames):
        raise UserError(f"{path}: a frameIndex of {name} is there twice; correct the file")
    for size in {frame.size for frame in frames if frame.size}:
        footage.check_size(size, path)
    images = _images(frames, footage, path, labels.report)
    frames = [frame for frame in frames if frame.number in images]
    video = labels.add_video(name, [*images.values()], footage.size, [*images])
    found: list[tuple[int, Label]] = []
    for frame in frames:
        each = read_frame_labels(frame, path, labels.report)
        found += [(frame.number, label) for label in each]
    are_numbers = all(_NUMBER.fullmatch(label.id) for _, label in found if not label.ignored)
    for number, label in found:
        with reporting(labels.report, path, "label", label.where):
            if label.box is None and label.rle is None:
                labels.tally.leave_out("without box2d or rle")
                continue
            video.add(
                number,
                label.category,
                track=int(label.id) if are_numbers and not label.ignored else label.id,
                box=label.box,
                segmentation=label.rle,
                ignored=label.ignored,
                visibility=0.0 if label.occluded else 1.0,
            )


def _images(frames: list[Frame], footage: Footage, path: str, report: Report) -> dict[int, str]:
    """The image of each frame that has one, by its number."""
    if footage.is_video_file:
        if len(footage.frames) != len(frames):
            raise UserError(
                f"{path} labels {len(frames)} frames, and {footage.path} has {len(footage.frames)}: give the "
                "folder of the images"
            )
        return {frame.number: image for frame, image in zip(frames, footage.frames, strict=True)}
    by_stem = footage.by_stem()
    images = {frame.number: by_stem.get(Path(frame.name).stem) for frame in frames}
    for frame in frames:
        if images[frame.number] is None:
            text = f"its image is not in {footage.path}: give the frames that were labelled (image_root)"
            report(Fault(path, "frame", frame.name, text))
    return {number: image for number, image in images.items() if image is not None}

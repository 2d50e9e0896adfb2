"""SA-V, the dataset of SAM 2, and files in its form.

Train: a video file ``<id>.mp4`` with ``<id>_manual.json`` and ``<id>_auto.json`` beside it. Their
``masklet`` has a row for every fourth frame, and in it an RLE an object; an absent object has null or
an RLE of zeros. SAM 2 also reads the key ``masks`` with ``fps``, and a bare list of rows. Only some of
the things in a video are objects.

Val and test: see :mod:`d2video.formats.sa_v_png`.
"""

import math
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from d2video.formats.faults import (
    Doubt,
    EntryError,
    Report,
    Tally,
    refuse,
    reporting,
    reporting_video,
)
from d2video.formats.geometry.rle import empty_mask
from d2video.formats.labels.footage import Footage, find_footage
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.labels.recognition import Seen
from d2video.formats.sa_v_json import Masklets, is_masklets, read_masklets
from d2video.formats.sa_v_png import add_png_videos, mask_folder
from d2video.utils.errors import UserError

_NAME = re.compile(r"(.+)_(manual|auto)\.json")

MaskletKind = Literal["manual", "auto"]


def _recognises(seen: Seen) -> bool:
    if not seen.is_folder:
        return is_masklets(seen)
    if mask_folder(seen.path) is not None:
        return True
    name = seen.find("*_manual.json") or seen.find("*_auto.json")
    return name is not None and is_masklets(Seen(os.path.join(seen.path, name)))


@label_format("sa_v", _recognises)
def read_sa_v(
    root: str,
    report: Report = refuse,
    *,
    image_root: str | None = None,
    videos: Collection[str] | None = None,
    class_name: str = "object",
    masklets: MaskletKind = "manual",
    frame_step: int | None = None,
) -> LabelSet:
    """Read masklets.

    Args:
        root: a folder with JSON files, one of these files, or the folder with Annotations_6fps.
        image_root: the folder of the videos, files or folders of images; None: beside the labels.
        class_name: of all objects.
        masklets: those that were drawn by hand, or automatic ones; of a single JSON file its own.
        frame_step: frames from one row of a JSON file to the next; None: 4, or 24 / fps if the file has
            ``fps``.

    Raises:
        UserError: a file or a video is missing.
    """
    if masklets not in ("manual", "auto"):
        raise UserError(f"masklets is '{masklets}': choose manual or auto")
    if frame_step is not None and frame_step < 1:
        raise UserError(f"frame_step is {frame_step}: give the frames between two rows, from 1 on")
    labels = LabelSet(root, report, classes=[class_name], wanted=videos)
    pngs = mask_folder(root) if os.path.isdir(root) else None
    if pngs is not None:
        add_png_videos(labels, pngs, image_root, class_name)
        return labels.finished()
    files = _find_files(root, masklets, report)
    for name, path in files.items():
        if not labels.wants(name):
            continue
        with reporting_video(report, path), reporting(report, path, "file", path):
            found = read_masklets(path, frame_step)
            folder = os.path.dirname(path)
            footage = find_footage(path, folder, [name], image_root, is_only=len(files) == 1)
            _add_video(labels, name, found, footage, class_name)
    return labels.finished()


def _find_files(root: str, masklets: MaskletKind, report: Report) -> dict[str, str]:
    """Paths of JSON files by video."""
    if os.path.isfile(root):
        match = _NAME.fullmatch(os.path.basename(root))
        return {match[1] if match else Path(root).stem: root}
    tally = Tally(root, "JSON files")
    videos: dict[str, str] = {}
    for path in sorted(Path(root).rglob("*.json")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            tally.leave_out("that are not called <video>_manual.json or <video>_auto.json")
        elif masklets != match[2]:
            tally.leave_out(f"of {match[2]} masklets", advice="masklets chooses the kind")
        elif match[1] in videos:
            raise UserError(f"{path} and {videos[match[1]]} are of one video; remove one")
        else:
            videos[match[1]] = str(path)
            tally.used += 1
    if not videos:
        raise UserError(
            f"{root} has no JSON file of masklets '{masklets}' (<video>_manual.json or <video>_auto.json): "
            "give SA-V's folder, or the other masklets"
        )
    tally.tell(report)
    return videos


def _add_video(
    labels: LabelSet, name: str, found: Masklets, footage: Footage, class_name: str
) -> None:
    """
    Raises:
        EntryError: the rows reach beyond the frames.
    """
    count, step = len(found.rows), found.step
    last = (count - 1) * step
    if found.size is not None:
        footage.check_size(found.size, found.path)
    if last >= len(footage.frames):
        raise EntryError(
            f"the {count} rows of {found.path} reach to frame {last}, and {footage.path} has "
            f"{len(footage.frames)} frames: give the video that was labelled, or frame_step"
        )
    if math.ceil(len(footage.frames) / step) != count:
        text = (
            f"its {count} rows end at frame {last}, and {footage.path} has {len(footage.frames)} frames: if "
            f"rows are not every {step} frames, give frame_step"
        )
        labels.report(Doubt(found.path, text))
    images = footage.frames[: last + 1 : step]
    video = labels.add_video(name, images, footage.size, range(0, count * step, step))
    empty = empty_mask(*footage.size)
    absent = (None, {**empty, "counts": empty["counts"].decode()})
    for row, masks in enumerate(found.rows):
        for track, mask in zip(found.ids, masks, strict=True):
            if mask in absent:
                continue
            with reporting(labels.report, found.path, "row", f"{row}, masklet {track}"):
                video.add(row * step, class_name, track=track, segmentation=mask)

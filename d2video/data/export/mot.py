"""Videos in the MOTChallenge's folders (formats/mot_sequence.py), with boxes or with masks as in MOTS20."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from d2video.data.export.frames import put_frames
from d2video.data.export.objects import (
    box_of,
    check_videos,
    frame_objects,
    json_rle,
    labelled,
    mask_of,
    written,
)
from d2video.data.records import Record
from d2video.formats.faults import Doubt, Report, Tally, refuse
from d2video.formats.mot_ground_truth import MOTS_IGNORE_CLASS, masks_overlap
from d2video.formats.rle import encode_masks, mask_areas
from d2video.utils.counted import counted
from d2video.utils.errors import UserError
from d2video.utils.files import new_folder

_IGNORED_ID = 10000  # of regions to ignore in MOTS20
_DECIMALS = 9  # of a pixel, so that adding 1 to a corner does not show

# The lines of a record's gt.txt, in the order of the frames.
_Lines = Callable[[Record], Iterator[str]]


def mot_classes(class_names: Sequence[str]) -> list[int]:
    """The numbers of classes in :func:`write_mot`'s files, by category id."""
    return [*range(1, len(class_names) + 1)]


def mots_classes(class_names: Sequence[str]) -> list[int]:
    """The numbers of classes in :func:`write_mots`' files, by category id."""
    numbers = [k for k in range(1, len(class_names) + 2) if k != MOTS_IGNORE_CLASS]
    return numbers[: len(class_names)]


def write_mot(
    records: Sequence[Record],
    class_names: Sequence[str],
    folder: str | os.PathLike[str],
    *,
    images: bool = True,
    source: str = "the data set",
    report: Report = refuse,
) -> None:
    """Write a folder of sequences with ``gt/gt.txt`` (boxes, corners from 1 on, classes from 1 on),
    ``gt/labels.txt``, ``seqinfo.ini`` and, unless ``images`` is False, the frames in ``img1``.

    Frames are numbered from 1 on. What is to be ignored has flag 0.

    Args:
        records: of videos, with labels or without.
        class_names: by category id.
        folder: made; it must not exist, or be empty.
        source: what messages call the data.
        report: takes what is left out: masks, and numbers of frames that do not count from 1.

    Raises:
        UserError: the records are images or none, two videos have the same name, or the folder is there
            or cannot be written.
        BrokenFile: a frame cannot be read.
    """
    masks, classes = written(source, "masks"), mot_classes(class_names)

    def lines(record: Record) -> Iterator[str]:
        return _box_lines(record, classes, masks)

    names = dict(zip(classes, class_names, strict=True))
    _write(records, names, folder, lines, images=images, source=source, report=report)
    masks.tell(report)


def write_mots(
    records: Sequence[Record],
    class_names: Sequence[str],
    folder: str | os.PathLike[str],
    *,
    images: bool = True,
    source: str = "the data set",
    report: Report = refuse,
) -> None:
    """Write a folder of sequences with the masks of MOTS20 in ``gt/gt.txt``; as :func:`write_mot`.

    Classes are numbered from 1 on, except 10, which stands for what is to be ignored. Masks of a frame may
    not overlap: shared pixels go to the later object, and regions to ignore come first.

    Args:
        report: takes what is left out: objects without a mask or wholly covered by others, visibilities,
            numbers of frames that do not count from 1; and the doubt that masks overlap.

    Raises:
        UserError: as :func:`write_mot`, or no object has a mask.
    """
    if _lacks_masks(records):
        raise UserError(f"{source} has no masks, and MOTS holds nothing else: write mot or coco")
    lost, classes = _LostOfMasks(source), mots_classes(class_names)

    def lines(record: Record) -> Iterator[str]:
        return _mask_lines(record, classes, lost)

    names = dict(zip(classes, class_names, strict=True))
    _write(records, names, folder, lines, images=images, source=source, report=report)
    lost.tell(report)


class _LostOfMasks:
    """What MOTS does not hold, counted.

    Attributes:
        objects, visibilities, region_classes: left out.
        cut: masks without the pixels that others cover too.
    """

    def __init__(self, source: str) -> None:
        self._source, self.cut = source, 0
        self.objects, self.visibilities, self.region_classes = (
            written(source, noun)
            for noun in (
                "objects in frames",
                "visibilities below 1",
                "classes of regions to ignore",
            )
        )

    def tell(self, report: Report) -> None:
        for tally in (self.objects, self.visibilities, self.region_classes):
            tally.tell(report)
        if self.cut:
            text = (
                f"{counted(self.cut, 'mask')} without the pixels that a later object covers too, since masks "
                "of MOTS may not overlap: write youtube-vis or coco to keep them"
            )
            report(Doubt(self._source, text))


def _write(
    records: Sequence[Record],
    classes: Mapping[int, str],
    folder: str | os.PathLike[str],
    lines: _Lines,
    *,
    images: bool,
    source: str,
    report: Report,
) -> None:
    check_videos(records, source, "MOTChallenge")
    records = labelled(records, source, report)
    names = [_folder_name(record) for record in records]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{source} has two videos of the name {twice}: rename one")
    renumbered = written(source, "frame numbers")
    with new_folder(folder) as partial:
        for record, name in zip(records, names, strict=True):
            sequence = partial / name
            sequence.mkdir()
            if "annotations" in record:
                (sequence / "gt").mkdir()
                text = "".join(lines(record))
                (sequence / "gt" / "gt.txt").write_text(text, encoding="utf-8")
                text = "".join(f"{classes.get(k, '')}\n" for k in range(1, max(classes) + 1))
                (sequence / "gt" / "labels.txt").write_text(text, encoding="utf-8")
            suffix = put_frames(record["file_names"], sequence / "img1") if images else None
            _write_seqinfo(sequence / "seqinfo.ini", name, record, suffix)
            _count_numbers(record, renumbered)
    renumbered.tell(report)


def _count_numbers(record: Record, tally: Tally) -> None:
    """Count the numbers of frames that are not kept, unless all that happens is counting from 1."""
    given = [*map(int, record.get("frame_numbers", ()))]
    if not given or (given[0] in (0, 1) and given[-1] - given[0] + 1 == len(given)):
        tally.used += len(given)
    else:
        tally.leave_out("of videos that count otherwise than 1, 2, ...", len(given))


def _lacks_masks(records: Sequence[Record]) -> bool:
    """Whether there are objects, and none has a mask."""
    given = [record for record in records if "length" in record and "annotations" in record]
    objects = [
        each for record in given for _, each, ignored in frame_objects(record) if not ignored
    ]
    return bool(objects) and not any(each.get("segmentation") for each in objects)


def _folder_name(record: Record) -> str:
    name = record.get("sequence", f"video_{record['video_id']}")
    return name.replace("/", "_").replace("\\", "_").lstrip(".") or f"video_{record['video_id']}"


def _write_seqinfo(path: Path, name: str, record: Record, suffix: str | None) -> None:
    values: dict[str, Any] = {
        "name": name,
        "imDir": "img1",
        "seqLength": record["length"],
        "imWidth": record["width"],
        "imHeight": record["height"],
    }
    if suffix:
        values["imExt"] = suffix
    text = "".join(f"{key}={value}\n" for key, value in values.items())
    path.write_text(f"[Sequence]\n{text}", encoding="utf-8")


def _box_lines(record: Record, classes: Sequence[int], masks: Tally) -> Iterator[str]:
    objects = [*frame_objects(record)]
    # Regions have no identity, and ids are unique in a frame.
    next_id = max((each.get("id", 0) for _, each, ignored in objects if not ignored), default=0) + 1
    for frame, each, ignored in objects:
        if each.get("segmentation"):
            masks.leave_out("of objects that are written as boxes")
        x, y, width, height = box_of(each)
        numbers = (round(value, _DECIMALS) for value in (x + 1, y + 1, width, height))
        box = ",".join(f"{value:.15g}" for value in numbers)
        visibility = f"{float(each.get('visibility', 1)):.15g}"
        track, cls = int(each.get("id", 0)), classes[each["category_id"]]
        if ignored:
            track, next_id = next_id, next_id + 1
        yield f"{frame + 1},{track},{box},{int(not ignored)},{cls},{visibility}\n"


def _mask_lines(record: Record, classes: Sequence[int], lost: _LostOfMasks) -> Iterator[str]:
    size = record["height"], record["width"]
    frames: list[list[tuple[int, int, dict[str, Any]]]] = [[] for _ in range(record["length"])]
    regions: dict[tuple[int, bytes], int] = Counter()  # of how many classes each is
    for frame, each, ignored in frame_objects(record):
        mask = mask_of(each, *size)
        if mask is None and ignored:  # the region is all that counts of it
            (mask,) = coco_mask.frPyObjects(np.array([box_of(each)]), *size)
        if mask is None:
            lost.objects.leave_out("that have a box and no mask")
        elif ignored:
            region = frame, mask["counts"]
            if region not in regions:
                frames[frame].insert(0, (_IGNORED_ID, MOTS_IGNORE_CLASS, mask))
            regions[region] += 1
        else:
            frames[frame].append((int(each["id"]), classes[each["category_id"]], mask))
            is_hidden = each.get("visibility", 1) != 1
            lost.visibilities.leave_out("that MOTS has no place for", is_hidden)
    of_part = sum(count for count in regions.values() if count < len(classes))
    lost.region_classes.leave_out("(the regions are of all classes)", of_part)
    for number, found in enumerate(frames, 1):
        masks = [mask for *_, mask in found]
        apart = _without_overlap(masks) if masks_overlap(masks) else masks
        areas = zip(mask_areas(masks).tolist(), mask_areas(apart).tolist(), strict=True)
        for (track, cls, _), mask, (before, after) in zip(found, apart, areas, strict=True):
            if cls != MOTS_IGNORE_CLASS:
                lost.cut += 0 < after < before
                lost.objects.leave_out("that later ones cover wholly", not after)
                lost.objects.used += bool(after)
            if after:
                height, width = size
                yield f"{number} {track} {cls} {height} {width} {json_rle(mask)['counts']}\n"


def _without_overlap(masks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Masks of one frame, each without the pixels of later ones."""
    dense = coco_mask.decode([*masks])  # (H,W,N)
    last = dense.shape[2] - np.argmax(dense[:, :, ::-1], axis=2)  # from 1 on
    owner = np.where(dense.any(axis=2), last, 0)
    return encode_masks(owner == np.arange(1, len(masks) + 1)[:, None, None])

"""Masks of videos in the MOTChallenge's folders, as in MOTS20."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from d2video.data.export.mot_folder import write_sequences
from d2video.data.export.objects import box_of, frame_objects, json_rle, mask_of, written
from d2video.data.records import Record
from d2video.formats.faults import Doubt, Report, refuse
from d2video.formats.geometry.rle import empty_mask, encode_labels, mask_areas
from d2video.formats.mot_ground_truth import MOTS_IGNORE_CLASS, free_class_numbers, masks_overlap
from d2video.utils.counted import counted
from d2video.utils.errors import UserError

_IGNORED_ID = 10000  # of regions to ignore in MOTS20


def write_mots(
    records: Sequence[Record],
    class_names: Sequence[str],
    folder: str | os.PathLike[str],
    *,
    images: bool = True,
    source: str = "the dataset",
    report: Report = refuse,
) -> dict[int, str]:
    """Write a folder of sequences with the masks of MOTS20 in ``gt/gt.txt``; as :func:`write_mot`.

    Classes are numbered from 1 on, except 10, which marks what is to be ignored. Masks of a frame may
    not overlap: shared pixels go to the later object, and regions to ignore come first.

    Args:
        report: takes what is left out: objects without a mask or wholly covered by others, visibilities,
            numbers of frames that do not count from 1; and the doubt that masks overlap.

    Raises:
        UserError: as :func:`write_mot`, or no object has a mask.
    """
    if _lacks_masks(records):
        raise UserError(f"{source} has no masks, and MOTS holds nothing else: write mot or coco")
    lost, classes = _Lost(source), free_class_numbers(len(class_names), masks=True)
    names = dict(zip(classes, class_names, strict=True))
    lines = partial(_mask_lines, classes=classes, lost=lost)
    write_sequences(records, names, folder, lines, images=images, source=source, report=report)
    lost.tell(report)
    return names


class _Lost:
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


def _lacks_masks(records: Sequence[Record]) -> bool:
    """Whether there are objects, and none has a mask."""
    given = [record for record in records if "length" in record and "annotations" in record]
    objects = [
        each for record in given for _, each, ignored in frame_objects(record) if not ignored
    ]
    return bool(objects) and not any(each.get("segmentation") for each in objects)


def _mask_lines(record: Record, classes: Sequence[int], lost: _Lost) -> Iterator[str]:
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
    apart, empty = encode_labels(owner), empty_mask(*owner.shape)
    return [apart.get(k, empty) for k in range(1, len(masks) + 1)]

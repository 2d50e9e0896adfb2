"""Boxes of videos in the MOTChallenge's folders."""

import os
from collections.abc import Iterator, Sequence
from functools import partial

from d2video.data.export.mot_folder import write_sequences
from d2video.data.export.objects import box_of, frame_objects, written
from d2video.data.records import Record
from d2video.formats.faults import Report, Tally, refuse
from d2video.formats.mot_ground_truth import free_class_numbers

_DECIMALS = 9  # of a pixel, so that adding 1 to a corner does not show


def write_mot(
    records: Sequence[Record],
    class_names: Sequence[str],
    folder: str | os.PathLike[str],
    *,
    images: bool = True,
    source: str = "the dataset",
    report: Report = refuse,
) -> dict[int, str]:
    """Write a folder of sequences with ``gt/gt.txt`` (boxes, corners from 1 on, classes from 1 on),
    ``gt/labels.txt``, ``seqinfo.ini`` and, unless ``images`` is False, the frames in ``img1``.

    Frames are numbered from 1 on. What is to be ignored has flag 0.

    Args:
        records: of videos, with labels or without.
        class_names: by category id.
        folder: made; it must not exist, or be empty.
        source: what messages call the data.
        report: takes what is left out: masks, and numbers of frames that do not count from 1; and the
            doubt that a frame rate is unknown.

    Returns:
        {number in the files: name} of the classes.

    Raises:
        UserError: the records are images or none, two videos have the same name, or the folder is there
            or cannot be written.
        BrokenFile: a frame cannot be read.
    """
    masks, classes = written(source, "masks"), free_class_numbers(len(class_names), masks=False)
    names = dict(zip(classes, class_names, strict=True))
    lines = partial(_box_lines, classes=classes, masks=masks)
    write_sequences(records, names, folder, lines, images=images, source=source, report=report)
    masks.tell(report)
    return names


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

"""The ground truth of a MOTChallenge split: each row is judged by a rule, and what is not used counted.

CVAT writes the names of the classes to ``gt/labels.txt``, one a line; the first is class 1.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from d2video.formats.annotation_doubts import mixed_tracks
from d2video.formats.faults import Doubt, Fault, Report, Tally, refuse
from d2video.formats.geometry.box_layout import layout_doubt
from d2video.formats.geometry.rle import mask_areas
from d2video.formats.mot_ground_truth import (
    MOTS_IGNORE_CLASS,
    MOTRows,
    MOTSRows,
    read_mot_ground_truth,
    read_mots_ground_truth,
)
from d2video.formats.mot_rules import WITHOUT_CLASSES, ObjectRule
from d2video.formats.mot_sequence import MOTSequence
from d2video.formats.text import read_lines
from d2video.utils.errors import UserError

_PEDESTRIAN, _MASK_PEDESTRIAN = 1, 2
_MASK_CLASSES = {1: "car", 2: "pedestrian"}
_OTHER_CLASSES = "classes=[...] chooses the classes"
_FLAG_0 = "with_flag_0 keeps those with flag 0 where classes are given"
_ANY_VISIBILITY = "min_visibility=None keeps those of any visibility"


@dataclass(frozen=True)
class Labels:
    """The ground truth of a sequence, of the frames that are in the split.

    Attributes:
        rows: N rows, all of the file but boxes without area; the split's first frame is 1.
        category: (N,) int64, the category id of objects, -1 of other rows.
        class_numbers: what ``rows`` call the classes, by category id; None for a name that the
            sequence's ``labels.txt`` lacks.
    """

    rows: MOTRows | MOTSRows
    category: np.ndarray
    class_numbers: tuple[int | None, ...]


def read_labels(
    sequences: Sequence[MOTSequence],
    rule: ObjectRule,
    source: str,
    *,
    in_training: bool,
    report: Report = refuse,
) -> dict[str, Labels]:
    """Read the ground truth of a split; what of it is not used is reported, and if nothing is.

    Args:
        sequences: those without ground truth are passed over.
        rule: which rows are objects.
        source: what messages call the data.
        in_training: see ``ObjectRule.min_visibility``.
        report: takes the faults of files and rows; doubts about the layout of boxes, visibilities and
            numbers of classes; what is not used, and that nothing is.

    Returns:
        name of the sequence → its labels.

    Raises:
        UserError: a class is named that no ``labels.txt`` has.
    """
    labelled = [(each, each.gt_file) for each in sequences if each.gt_file is not None]
    by_name = sorted(labelled, key=lambda each: each[0].name)
    names = {gt_file: read_class_numbers(gt_file) for _, gt_file in by_name}
    _check_classes(rule, names, report)
    tally = Tally(source, "masks" if rule.has_masks else "boxes")
    found: dict[str, Labels] = {}
    boxes: list[np.ndarray] = []
    sizes: list[np.ndarray] = []
    visibility: list[np.ndarray] = []
    mixed: list[tuple[int, str]] = []
    for sequence, gt_file in labelled:
        try:
            rows = _read_rows(sequence, gt_file, rule, report)
        except UserError as error:
            report(Fault(gt_file, "file", None, str(error)))
            continue
        numbers = _class_numbers(rule, names[gt_file])
        category = _judge(rows, numbers, rule, in_training, names[gt_file], tally)
        if isinstance(rows, MOTRows):
            if _asks_visibility(rule, in_training):
                chosen = np.isin(rows.cls, [each for each in numbers if each is not None])
                visibility.append(rows.visibility[chosen & ((rows.flag != 0) | rule.with_flag_0)])
            boxes.append(rows.box[category >= 0])
            sizes.append(np.full((len(boxes[-1]), 2), sequence.size or math.inf))
        classes = np.unique(np.stack([rows.id, category])[:, category >= 0], axis=1)
        tracks, counts = np.unique(classes[0], return_counts=True)
        mixed += [(track, sequence.name) for track in tracks[counts > 1].tolist()]
        kept = (category >= 0) | ~_has_no_area(rows)
        found[sequence.name] = Labels(rows.select(kept), category[kept], numbers)
    if boxes:
        every = map(np.concatenate, (boxes, sizes))
        doubt = layout_doubt(source, *every, whole_bodies=True)
        if doubt is not None:
            report(doubt)
    doubt = mixed_tracks(source, mixed)
    if doubt is not None:
        report(doubt)
    if visibility:
        _check_visibility(np.concatenate(visibility), source, report)
    if tally.used or not found:
        tally.tell(report)
    else:
        left_out = tally.left_out()
        empty = f"{source}: no gt.txt has a row in the split; label it, or remove gt.txt"
        report(Fault(source, "file", None, f"{left_out}" if left_out.reasons else empty))
    return found


def class_numbers(rule: ObjectRule, sequences: Sequence[MOTSequence]) -> tuple[int, ...]:
    """The numbers of a rule's classes in files of results, by category id.

    Names have the line of the first ``labels.txt`` that has them; if none has them, as of
    sequences without labels, the numbers are 1, 2, ...

    Raises:
        UserError: two of them have the same number.
    """
    names: dict[str, int] = {}
    for sequence in sorted(sequences, key=lambda each: each.name):
        for name, number in read_class_numbers(sequence.gt_file).items():
            names.setdefault(name, number)
    numbers = _class_numbers(rule, names)
    present = tuple(number for number in numbers if number is not None)
    return present if len(present) == len(numbers) else tuple(range(1, len(numbers) + 1))


def _read_rows(
    sequence: MOTSequence, gt_file: str, rule: ObjectRule, report: Report
) -> MOTRows | MOTSRows:
    numbers = sequence.frame_numbers
    rows: MOTRows | MOTSRows
    if rule.has_masks:
        rows = read_mots_ground_truth(gt_file, numbers, sequence.size, report)
    else:
        rows = read_mot_ground_truth(gt_file, numbers, report)
        if rule.benchmark in WITHOUT_CLASSES:
            rows = replace(rows, cls=np.ones_like(rows.cls))
    return rows.of_frames(sequence.first + 1, sequence.num_frames)


def _judge(
    rows: MOTRows | MOTSRows,
    numbers: Sequence[int | None],
    rule: ObjectRule,
    in_training: bool,
    names: Mapping[str, int],
    tally: Tally,
) -> np.ndarray:
    """The category id of each row, -1 of rows that are not objects, which are counted."""
    category = np.full(len(rows), -1)
    for k, number in enumerate(numbers):
        if number is not None:
            category[rows.cls == number] = k
    known = {number: name for name, number in names.items()}
    if rule.has_masks:
        known = {**(known or _MASK_CLASSES), MOTS_IGNORE_CLASS: "ignore region"}
    for number, count in zip(*np.unique(rows.cls[category < 0], return_counts=True), strict=True):
        name = f" ({known[number]})" if number in known else ""
        is_region = rule.has_masks and number == MOTS_IGNORE_CLASS
        advice = None if is_region else _OTHER_CLASSES
        tally.leave_out(f"of class {number}{name}", int(count), advice)

    def leave_out(which: np.ndarray, reason: str, advice: str | None = None) -> None:
        which = which & (category >= 0)
        tally.leave_out(reason, int(which.sum()), advice)
        category[which] = -1

    own = rule.classes is not None
    if isinstance(rows, MOTSRows):
        if in_training or own:
            leave_out(mask_areas(rows.rle.tolist()) == 0, "whose mask is empty")
    else:
        if not rule.with_flag_0:
            leave_out(rows.flag == 0, "with flag 0", _FLAG_0)
        leave_out(_has_no_area(rows), "whose box is 0 wide or 0 high")
        if _asks_visibility(rule, in_training):
            reason = f"of visibility {rule.min_visibility:g} or less"
            reason += "" if own else ", which evaluation counts"
            leave_out(~(rows.visibility > rule.min_visibility), reason, _ANY_VISIBILITY)
    tally.used += int((category >= 0).sum())
    return category


def _asks_visibility(rule: ObjectRule, in_training: bool) -> bool:
    """Whether objects that are hardly visible do not count."""
    return rule.min_visibility is not None and (in_training or rule.classes is not None)


def _check_visibility(values: np.ndarray, source: str, report: Report) -> None:
    """Report the doubt whether column 9 holds visibilities."""
    others = values[(values < 0) | (values > 1)]
    if len(others):
        found, counts = np.unique(others, return_counts=True)
        text = (
            f"column 9 holds {found[counts.argmax()]:g} or the like in {len(others)} of {len(values)} "
            "rows, which is not a visibility, 0 to 1: min_visibility=None lets all count"
        )
        report(Doubt(source, text))


def _has_no_area(rows: MOTRows | MOTSRows) -> np.ndarray:
    """(N,) whether a box is 0 wide or high; of masks the benchmarks count even the empty ones."""
    if isinstance(rows, MOTSRows):
        return np.zeros(len(rows), dtype=bool)
    return (rows.box[:, 2:] == 0).any(axis=1)


def read_class_numbers(gt_file: str | None) -> dict[str, int]:
    """Name → number of the classes in the ``labels.txt`` beside a ``gt.txt``; empty without one."""
    path = os.path.join(os.path.dirname(gt_file or ""), "labels.txt")
    if gt_file is None or not os.path.isfile(path):
        return {}
    names: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), 1):
        if line.strip() and names.setdefault(line.strip(), number) != number:
            raise UserError(
                f"{path}, line {number}: '{line.strip()}' is there twice; correct the file"
            )
    return names


def _check_classes(
    rule: ObjectRule, names: Mapping[str, Mapping[str, int]], report: Report
) -> None:
    """
    Args:
        names: path of a ``gt.txt`` → what its ``labels.txt`` calls the classes.
        report: takes the doubts whether a number means the class that it is taken for, and whether the
            numbers in files of results do.

    Raises:
        UserError: a class is named that no ``labels.txt`` has.
    """
    known = dict.fromkeys(name for each in names.values() for name in each)
    for name in rule.classes or ():
        if isinstance(name, str) and names and name not in known:
            lacks = f"has {', '.join(known)}" if known else "is missing: give numbers"
            raise UserError(f"classes: '{name}' is not in the gt/labels.txt, which {lacks}")
    for name in known:
        having = [(path, each[name]) for path, each in names.items() if name in each]
        (first, number), *rest = having
        others = [(where, other) for where, other in rest if other != number]
        if (
            name in (rule.classes or ())
            and others
            and (len(rule.class_names) > 1 or rule.has_masks)
        ):
            text = (
                f"'{name}' is class {number}, and {others[0][1]} beside {others[0][0]}: files of results "
                f"are read and written with {number} for all sequences; give all the same labels.txt"
            )
            report(Doubt(os.path.join(os.path.dirname(first), "labels.txt"), text))
    numbers = rule.classes or _class_numbers(rule, {})
    for number in (each for each in numbers if isinstance(each, int)):
        called = {
            name: path for path, each in names.items() for name, k in each.items() if k == number
        }
        usual = {name.casefold() for name in (*rule.class_names, "pedestrian")}
        is_other = rule.classes is None and {*map(str.casefold, called)} - usual
        if len(called) > 1 or is_other:
            (name, path), *also = called.items()
            besides = "".join(f" and '{other}' beside {where}" for other, where in also[:1])
            text = f"class {number} is '{name}'{besides}: choose by name, classes=['{name}', ...]"
            report(Doubt(os.path.join(os.path.dirname(path), "labels.txt"), text))


def _class_numbers(rule: ObjectRule, names: Mapping[str, int]) -> tuple[int | None, ...]:
    if rule.classes is None:
        return (_MASK_PEDESTRIAN if rule.has_masks else _PEDESTRIAN,)
    numbers = [each if isinstance(each, int) else names.get(each) for each in rule.classes]
    present = [number for number in numbers if number is not None]
    if len({*present}) < len(present):
        raise UserError(
            f"classes is {list(rule.classes)}: two of them have the same number in gt/labels.txt; give "
            "numbers"
        )
    return tuple(numbers)

"""Which rows of a MOTChallenge ground truth are objects: one rule for training, evaluation and check.

Without ``classes`` the rule is the benchmark's: class 1 of boxes (pedestrians; everything in MOT15, which
has no classes) and class 2 of masks, but no row with flag 0. Evaluation then has more rules, for which it
needs the whole file, and it counts objects of any visibility, while the official training leaves out
those that are hardly visible. With ``classes``, training and evaluation use the same rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from d2video.formats.mot_ground_truth import MOTS_IGNORE_CLASS
from d2video.utils.errors import UserError

MASK_BENCHMARKS = ("MOTS20",)
BENCHMARKS = ("MOT15", "MOT16", "MOT17", "MOT20", "DanceTrack", *MASK_BENCHMARKS)
WITHOUT_CLASSES = ("MOT15",)
_MIN_VISIBILITY = 0.25  # of the official TrackFormer's training


@dataclass(frozen=True)
class ClassRule:
    """What a benchmark of several classes scores.

    Its regions to ignore are those of all classes.

    Attributes:
        classes: names of the classes that are scored.
        distractors: {another class: the scored class that is so similar that what is found on it does not
            count}.
        groups: {name: classes whose detections are averaged as well}.
    """

    classes: tuple[str, ...]
    distractors: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


CLASS_RULES = {
    "KITTI": ClassRule(
        ("Car", "Pedestrian"),
        {"Van": "Car", "Person": "Pedestrian", "Person_sitting": "Pedestrian"},
    ),
    "BDD100K": ClassRule(
        ("pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
        groups={
            "HUMAN": ("pedestrian", "rider"),
            "VEHICLE": ("car", "truck", "bus", "train"),
            "BIKE": ("motorcycle", "bicycle"),
        },
    ),
}

Classes: TypeAlias = Sequence[int | str] | Mapping[int, str]
MinVisibility: TypeAlias = float | Literal["benchmark"] | None


@dataclass(frozen=True)
class ObjectRule:
    """Which rows are objects.

    Attributes:
        benchmark: whose files, and whose rules of evaluation.
        classes: by category id, a number or a name in ``gt/labels.txt``; None: the benchmark's class.
        class_names: by category id.
        min_visibility: objects that are visible to this part or less do not count; None: all count.
            Without ``classes`` this is so in training only.
        with_flag_0: rows with flag 0 count too.
    """

    benchmark: str
    classes: tuple[int | str, ...] | None
    class_names: tuple[str, ...]
    min_visibility: float | None
    with_flag_0: bool

    @property
    def has_masks(self) -> bool:
        """Whether objects are masks, and not boxes."""
        return self.benchmark in MASK_BENCHMARKS


def object_rule(
    benchmark: str,
    *,
    classes: Classes | None = None,
    class_name: str | None = None,
    min_visibility: MinVisibility = "benchmark",
    with_flag_0: bool = False,
) -> ObjectRule:
    """The rule that these arguments of :func:`~d2video.data.datasets.mot.register_mot` choose.

    Raises:
        UserError: an unknown benchmark; no classes, one twice, or one that is neither a number nor a
            name; an empty name; arguments that contradict one another or the benchmark's format.
    """
    if benchmark not in BENCHMARKS:
        raise UserError(f"benchmark is '{benchmark}': choose one of {', '.join(BENCHMARKS)}")
    if class_name is not None and not class_name.strip():
        raise UserError("class_name is empty: give one, or leave it out for person")
    is_default = min_visibility == "benchmark"
    lowest = None if min_visibility == "benchmark" else min_visibility
    if classes is None:
        if with_flag_0:
            raise UserError("with_flag_0 contradicts the benchmark's rules: give classes too")
        lowest = _MIN_VISIBILITY if is_default else lowest
        return ObjectRule(benchmark, None, (class_name or "person",), lowest, False)
    if class_name is not None:
        raise UserError("class_name and classes are given: name the classes, {number: name}")
    if benchmark in WITHOUT_CLASSES:
        raise UserError(
            f"the files of {benchmark} hold no classes: leave out classes, or use MOT17"
        )
    if isinstance(classes, str) or not classes or not all(map(_is_class, classes)):
        raise UserError(
            f"classes is {classes!r}: give numbers, names of gt/labels.txt, or {{number: name}}"
        )
    for each in classes:
        if isinstance(each, str) and each.strip().removeprefix("-").isdecimal():
            raise UserError(f"classes: '{each}' is text: write the number {each} without quotes")
    if benchmark in MASK_BENCHMARKS and MOTS_IGNORE_CLASS in classes:
        raise UserError(
            f"classes: {MOTS_IGNORE_CLASS} is {benchmark}'s regions to ignore: leave it out"
        )
    names = (
        [*classes.values()]
        if isinstance(classes, Mapping)
        else [each if isinstance(each, str) else f"class {each}" for each in classes]
    )
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError(f"classes is {classes!r}: give each number a name")
    if len({*classes}) < len(names) or len({*names}) < len(names):
        raise UserError(f"classes is {classes!r}: one is there twice; leave it out")
    return ObjectRule(benchmark, tuple(classes), tuple(names), lowest, with_flag_0)


def rule_arguments(rule: ObjectRule) -> dict[str, Any]:
    """The arguments by which :func:`object_rule` gives this rule."""
    arguments: dict[str, Any] = {"benchmark": rule.benchmark}
    if rule.classes is None:
        arguments["class_name"] = rule.class_names[0]
        if rule.min_visibility != _MIN_VISIBILITY:
            arguments["min_visibility"] = rule.min_visibility
        return arguments
    are_names = rule.classes == rule.class_names
    arguments["classes"] = (
        [*rule.classes] if are_names else dict(zip(rule.classes, rule.class_names, strict=True))
    )
    if rule.min_visibility is not None:
        arguments["min_visibility"] = rule.min_visibility
    if rule.with_flag_0:
        arguments["with_flag_0"] = True
    return arguments


def _is_class(each: int | str) -> bool:
    return type(each) is int or (isinstance(each, str) and each.strip() != "")

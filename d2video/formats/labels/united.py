"""Several sets of labels as one."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

from d2video.formats.annotation_doubts import same_frames
from d2video.formats.faults import Report
from d2video.formats.labels.label_set import LabelledObject, LabelSet
from d2video.utils.errors import UserError


def united(source: str, sets: Mapping[str, LabelSet], report: Report) -> LabelSet:
    """All videos of several sets of one format, with the classes of all; equal names are one class.

    Args:
        source: what messages call the whole.
        sets: by name. It is put before the names of videos that several sets have.
        report: takes a doubt where sets have labels of the same frames.

    Raises:
        UserError: only some have tracks, or only some have labels.
    """
    parts = [*sets.values()]
    if len(parts) == 1:
        return parts[0]
    _check_alike(source, sets)
    is_listed = all(part.lists_classes for part in parts)
    classes = [*dict.fromkeys(chain.from_iterable(part.classes for part in parts))]
    numbers = {name: n for part in parts for name, n in zip(part.classes, part.class_numbers or ())}
    is_numbered = len(numbers) == len({*numbers.values()}) == len(classes) and all(
        part.class_numbers == [numbers[name] for name in part.classes] for part in parts
    )
    whole = LabelSet(
        source,
        report,
        classes=classes if is_listed else sorted(classes),
        class_numbers=[numbers[name] for name in classes] if is_numbered else None,
        tracked=parts[0].tracked,
        benchmark=parts[0].benchmark,
    )
    whole.labelled, whole.track_advice = parts[0].labelled, parts[0].track_advice
    taken = Counter(video.name for part in parts for video in part.videos)
    for name, part in sets.items():
        new = [whole.class_index(each) for each in part.classes]
        for video in part.videos:
            called = f"{name}_{video.name}" if taken[video.name] > 1 else video.name
            added = whole.add_video(called, video.frames, video.size, video.numbers)
            added.objects = [_of_class(each, new) for each in video.objects]
    places = (
        (frame, name) for name, part in sets.items() for v in part.videos for frame in v.frames
    )
    doubt = same_frames(source, places)
    if doubt is not None:
        report(doubt)
    return whole


def _check_alike(source: str, sets: Mapping[str, LabelSet]) -> None:
    for what, advice in (
        ("tracked", "give tracks to all, or set tracked=False, which reads all as single images"),
        ("labelled", "leave those without labels out"),
    ):
        having = [name for name, part in sets.items() if getattr(part, what)]
        lacking = [name for name in sets if name not in having]
        if having and lacking:
            raise UserError(f"{source}: {having[0]} is {what}, and {lacking[0]} is not: {advice}")


def _of_class(each: LabelledObject, new: list[int]) -> LabelledObject:
    same = each.category < 0 or new[each.category] == each.category
    return each if same else replace(each, category=new[each.category])

"""What is odd about the annotations of a file as a whole, whatever its format."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from d2video.formats.faults import Doubt
from d2video.utils.counted import counted


def repeated(path: str, pairs: Sequence[tuple[Any, Any]]) -> Doubt | None:
    """Annotations that are there twice: (the first, the same again) of each pair."""
    if not pairs:
        return None
    first, again = pairs[0]
    there = f"{counted(len(pairs), 'annotation')} {'is' if len(pairs) == 1 else 'are'} there twice"
    return Doubt(
        path,
        f"{there}, with equal boxes and masks (such as {first} and {again}), so that evaluation counts "
        "one as missed: remove the copies",
    )


def partly_masked(path: str, have_masks: Sequence[bool]) -> Doubt | None:
    """Objects of which some have a mask and some only a box."""
    without = len(have_masks) - sum(have_masks)
    if not 0 < without < len(have_masks):
        return None
    return Doubt(
        path,
        f"{without} of {len(have_masks)} objects have a box and no mask, which models of masks refuse: "
        "complete the file, or train on boxes (MODEL.MASK_ON False)",
    )


def mixed_tracks(path: str, tracks: Sequence[tuple[Any, str]]) -> Doubt | None:
    """A doubt where tracks have several classes, each with the name of its video."""
    if not tracks:
        return None
    track, video = tracks[0]
    return Doubt(
        path,
        f"{counted(len(tracks), 'track')} of several classes (such as track {track} of {video}), read as one "
        "of each class: give it one class if it is a mistake",
    )


def same_frames(source: str, frames: Iterable[tuple[str, str]]) -> Doubt | None:
    """Frames that are labelled in several places: (frame, place) of each."""
    first: dict[str, str] = {}
    twice = [(f, first[f], place) for f, place in frames if first.setdefault(f, place) != place]
    if not twice:
        return None
    frame, one, other = twice[0]
    return Doubt(
        source,
        f"frames that are labelled twice ({len(twice)}), such as {frame} in {one} and in {other}: leave "
        "one of these out, or give each its own frames",
    )


def alike_names(path: str, names: Iterable[str]) -> Doubt | None:
    """Names of classes that differ only in case, spaces or underscores."""
    plain: dict[str, str] = {}
    firsts = [
        (plain.setdefault(re.sub(r"[\s_]+", "", each).casefold(), each), each) for each in names
    ]
    twice = [(first, name) for first, name in firsts if first != name]
    if not twice:
        return None
    first, name = twice[0]
    return Doubt(
        path,
        f"{counted(len(twice), 'category')} by a name that differs from another one only in case, spaces "
        f"or underscores (such as {name!r} and {first!r}): if they are the same, make one of them",
    )

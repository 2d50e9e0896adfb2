"""What is odd about the annotations of a file as a whole, whatever its format."""

from collections.abc import Sequence
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

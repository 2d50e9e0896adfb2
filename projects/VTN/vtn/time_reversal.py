"""Clips that are trained on forwards and backwards.

Price and Damen, Retro-Actions: Learning 'Close' by Time-Reversing 'Open' Videos, ICCVW 2019. There a
reversed video is a further sample. Here it is in the batch of the video itself: both have the same
frames, which go through the backbone once, and what frames say without their order cancels out of the
gradient.

Shapes: T: frames of a clip, C: channels, K: classes.
"""

from collections.abc import Sequence

from torch import Tensor

from d2video.utils.errors import UserError

# A class without a counterpart: its clips are not reversed.
NO_CLASS = -1


def check_reversed_classes(reversed_classes: Sequence[int], num_classes: int) -> None:
    """Check that the classes are paired.

    Args:
        reversed_classes: of each class, the class of its videos played backwards, or
            :data:`NO_CLASS`. Empty: no clip is reversed.
        num_classes: K.

    Raises:
        UserError: not K numbers, a class out of range, or two reversals that end in another class.
    """
    if not reversed_classes:
        return
    if len(reversed_classes) != num_classes:
        raise UserError(
            f"MODEL.VTN.REVERSED_CLASSES has {len(reversed_classes)} numbers for {num_classes} "
            "classes: give one for each class, -1 for a class without a counterpart"
        )
    for number, other in enumerate(reversed_classes):
        if other == NO_CLASS:
            continue
        paired = isinstance(other, int) and 0 <= other < num_classes
        if not paired or reversed_classes[other] != number:
            raise UserError(
                f"MODEL.VTN.REVERSED_CLASSES: class {number} backwards is {other}: give a class "
                f"from 0 to {num_classes - 1} whose reversal is {number}, or -1"
            )


def add_reversed_clips(
    features: list[Tensor],
    frame_index: list[Tensor],
    labels: Tensor,
    reversed_classes: Sequence[int],
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Append the reversal of each clip whose class has a counterpart.

    Frame numbers are mirrored: they still ascend, between the same first and last number.

    Args:
        features: of each clip, (T, C).
        frame_index: of each clip, int64 (T,), ascending.
        labels: int64 (B,), on the CPU.
        reversed_classes: as in :func:`check_reversed_classes`, not empty.

    Returns:
        The same three with up to 2 B clips.
    """
    others = labels.new_tensor(reversed_classes)[labels]
    chosen = [k for k, other in enumerate(others.tolist()) if other != NO_CLASS]
    mirrored = [(index[0] + index[-1] - index).flip(0) for index in frame_index]
    return (
        features + [features[k].flip(0) for k in chosen],
        frame_index + [mirrored[k] for k in chosen],
        labels.new_tensor([*labels.tolist(), *others[chosen].tolist()]),
    )

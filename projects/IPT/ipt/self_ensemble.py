"""The mean of the answers to the eight flips and quarter turns of an image; tensors or numpy arrays."""

from collections.abc import Callable
from typing import Any


def self_ensemble(
    restore: Callable[[list[Any]], list[Any]],
    images: list[Any],
    flip: Callable[[Any, tuple[int, ...]], Any],
) -> list[Any]:
    """
    Args:
        restore: images (3,h,w) to answers (3,s·h,s·w) with memory of their own.
        flip: of an image along some axes: ``torch.flip`` or ``np.flip``.
    """
    totals: list[Any] = []
    for transposed in (False, True):
        for axes in ((), (-1,), (-2,), (-1, -2)):
            answers = restore([_turned(each, transposed, axes, flip) for each in images])
            if not totals:
                totals = answers
                continue
            for total in totals:
                total += _turned_back(answers.pop(0), transposed, axes, flip)
    for total in totals:
        total /= 8
    return totals


def _turned(image: Any, transposed: bool, axes: tuple[int, ...], flip: Callable[..., Any]) -> Any:
    """One of the eight flips and quarter turns, copied at most once."""
    view = image.swapaxes(-1, -2) if transposed else image
    return flip(view, axes) if axes else view


def _turned_back(
    answer: Any, transposed: bool, axes: tuple[int, ...], flip: Callable[..., Any]
) -> Any:
    view = flip(answer, axes) if axes else answer
    return view.swapaxes(-1, -2) if transposed else view

"""A confusion matrix as a picture, readable for a few classes and for hundreds."""

import os
from collections.abc import Sequence

import numpy as np

from d2video.utils.files import replace_on_success

_DPI = 100
# Up to this many classes a cell has room for a number; with more it is as high as a name.
_MOST_WITH_NUMBERS = 30
_LARGE_CELL, _SMALL_CELL = 0.5, 0.1  # inches


def draw_confusion(
    path: str | os.PathLike[str], confusion: np.ndarray, class_names: Sequence[str]
) -> None:
    """Write the picture: one row a true class, one column a predicted one, percentages of the row.

    Rows of classes without videos are grey. Every class has its name at both sides, also where the
    picture is several thousand pixels wide: it is for zooming then.

    Args:
        path: PNG file to write, whole or not at all.
        confusion: int (K,K), numbers of videos by true and predicted class.
        class_names: K names.

    Raises:
        UserError: the path cannot be written.
    """
    # Not above: 0.3 s for every program.
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure  # no pyplot, which keeps state and may want a display

    count = len(class_names)
    assert confusion.shape == (count, count), (confusion.shape, count)
    totals = confusion.sum(1, keepdims=True)
    share = np.ma.masked_array(
        100 * confusion / np.maximum(totals, 1), np.broadcast_to(totals == 0, confusion.shape)
    )
    has_numbers = count <= _MOST_WITH_NUMBERS
    cell, font = (_LARGE_CELL, 10) if has_numbers else (_SMALL_CELL, 6)
    side = cell * count
    # The cells fill the figure; saving widens it by what stands around them.
    figure = Figure(figsize=(side, side), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1), facecolor="#d0d0d0")
    # The root lets a few confusions among hundreds of videos show.
    image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="nearest")
    ticks = np.arange(count)
    axes.set_xticks(ticks, class_names, rotation=90, fontsize=font)
    axes.set_yticks(ticks, class_names, fontsize=font)
    axes.tick_params(length=2, pad=2)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    # Lines of one collection each: hundreds of ticks would cost seconds.
    colour, thickness = "#e8e8e8", 1.0 if has_numbers else 0.3
    axes.vlines(ticks[1:] - 0.5, -0.5, count - 0.5, colour, linewidth=thickness)
    axes.hlines(ticks[1:] - 0.5, -0.5, count - 0.5, colour, linewidth=thickness)
    if has_numbers:
        for true, predicted in np.argwhere(confusion > 0).tolist():
            value = float(share[true, predicted])
            colour = "white" if value > 45 else "black"
            axes.text(predicted, true, f"{value:.0f}", ha="center", va="center", color=colour)
    height = min(4 / side, 1)
    scale = figure.add_axes((1 + 0.1 / side, 1 - height, 0.15 / side, height))
    figure.colorbar(image, cax=scale, label="% of the row")
    accuracy = confusion.trace() / max(int(totals.sum()), 1)
    axes.set_title(f"{int(totals.sum())} videos, top-1 {100 * accuracy:.1f} %", fontsize=11)
    with replace_on_success(path) as partial:
        figure.savefig(partial, format="png", bbox_inches="tight")

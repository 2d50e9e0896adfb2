"""A table of numbers as a picture."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor


def matrix(
    values: Tensor,
    rows: str,
    columns: str,
    *,
    row_names: Sequence[str] | None = None,
    column_names: Sequence[str] | None = None,
    lowest: float | None = None,
) -> np.ndarray:
    """A matrix in colour, from dark violet (the lowest value) to yellow (the highest), with a scale.

    Args:
        values: (R, C).
        rows, columns: what they are, beside the axes.
        row_names, column_names: of each; None: their numbers.
        lowest: the value that is shown darkest; None: that of ``values``.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    import matplotlib.style  # takes a second
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    height = min(5.0, max(2.2, 0.22 * len(values) + 1.0))
    width = height + 1.0 if len(values) == values.shape[1] else 11.0
    with matplotlib.style.context(["dark_background", {"font.size": 9}]):
        figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
        axes = figure.subplots()
        numbers = values.float().cpu().numpy()
        shown = axes.imshow(
            numbers, cmap="inferno", vmin=lowest, aspect="auto", interpolation="nearest"
        )
        figure.colorbar(shown)
        axes.set_xlabel(columns)
        axes.set_ylabel(rows)
        for axis, names in ((axes.yaxis, row_names), (axes.xaxis, column_names)):
            axis.set_major_locator(MaxNLocator(integer=True))
            if names is not None:
                step = -(-len(names) // 32)
                axis.set_ticks(range(0, len(names), step), names[::step])
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()

"""Line charts as inline SVG, coloured by the page's CSS variables."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle

# The page has as many colours, as variables: --c0 to --c7. matplotlib takes none, so these stand in.
_COLOURS = [f"#c010{i:02d}" for i in range(8)]
_GRID = "#c01099"
_MOST_POINTS = 600


def line_chart(label: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str | None:
    """Draw series over a common x axis. The i-th has the colour ``var(--c<i % 8>)``.

    Args:
        label: read out in place of the picture.
        series: name → (x, y) points in order of x; those that are not finite are left out. The y
            axis starts at 0 where no value lies below. Long series are thinned by averaging
            neighbours.

    Returns:
        an ``<svg>`` element, or None where there is nothing to draw.
    """
    import matplotlib  # takes a second
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure = Figure(figsize=(5.6, 2.6), layout="constrained")
        axes = figure.subplots()
        for points, colour in zip(series.values(), cycle(_COLOURS)):
            drawn = _thinned([(x, y) for x, y in points if math.isfinite(y)])
            if drawn:
                axes.plot(*zip(*drawn), color=colour, linewidth=1.4, clip_on=False)
        if not axes.lines:
            return None
        if axes.dataLim.y0 >= 0:
            axes.set_ylim(bottom=0)
        axes.margins(x=0)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, pad=5)
        axes.locator_params(axis="x", integer=True)
        axes.grid(axis="y", color=_GRID, linewidth=0.8)
        for line in axes.get_ygridlines():
            line.set_clip_on(False)
        axes.patch.set_visible(False)
        figure.patch.set_visible(False)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    # Only the drawing: the head has matplotlib's own styles, which would apply to the whole page.
    text = file.getvalue()
    drawing = text[text.index('<g id="figure_1"') : text.rindex("</svg>")]
    drawing = re.sub(' id="[^"]*"', "", drawing)  # those of two charts would be the same
    for i, colour in enumerate(_COLOURS):
        drawing = drawing.replace(colour, f"var(--c{i})")
    size = " ".join(f"{72 * side:g}" for side in figure.get_size_inches())
    return (
        f'<svg class="chart" viewBox="0 0 {size}" role="img" aria-label="{escape(label)}">'
        f"{drawing.replace(_GRID, 'var(--line)')}</svg>"
    )


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``_MOST_POINTS`` points, each the mean of a run of neighbours."""
    run = math.ceil(len(points) / _MOST_POINTS) or 1
    groups = [points[i : i + run] for i in range(0, len(points), run)]
    return [(sum(x) / len(x), sum(y) / len(y)) for x, y in (zip(*group) for group in groups)]

"""Line charts as inline SVG, coloured by the page's CSS variables ``--c0`` to ``--c7``."""

import math
from collections.abc import Mapping, Sequence
from html import escape

Series = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 560, 260
_RIGHT, _TOP, _BOTTOM = 12, 8, 24
_DIGIT_WIDTH = 7.5
_NUM_COLOURS = 8
_MOST_POINTS = 600


def line_chart(label: str, series: Mapping[str, Series]) -> str:
    """Draw series over a common x axis, with a legend.

    Args:
        label: read out in place of the picture.
        series: name → (x, y) points, finite, in order of x. The y axis starts at 0 where no value
            lies below. Long series are thinned by averaging neighbours.

    Returns:
        HTML: an ``<svg>`` with its legend.
    """
    drawn = {name: _thinned(points) for name, points in series.items() if points}
    if not drawn:
        return "<p>No values.</p>"
    xs = [x for points in drawn.values() for x, _ in points]
    ys = [y for points in drawn.values() for _, y in points]
    x_ticks = _ticks(min(xs), max(xs))
    y_ticks = _ticks(min(0.0, *ys), max(0.0, *ys))
    left = 20 + _DIGIT_WIDTH * max(len(f"{tick:g}") for tick in y_ticks)
    x_low, x_high = min(xs), max(xs)
    y_low, y_high = min(y_ticks[0], *ys), max(y_ticks[-1], *ys)

    def across(x: float) -> float:
        return left + (x - x_low) / ((x_high - x_low) or 1) * (_WIDTH - left - _RIGHT)

    def down(y: float) -> float:
        return _TOP + (y_high - y) / ((y_high - y_low) or 1) * (_HEIGHT - _TOP - _BOTTOM)

    parts = []
    for tick in y_ticks:
        parts.append(
            f'<line class="grid" x1="{left}" x2="{_WIDTH - _RIGHT}" '
            f'y1="{down(tick):.1f}" y2="{down(tick):.1f}"/>'
            f'<text x="{left - 8}" y="{down(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    for tick in x_ticks:
        if x_low <= tick <= x_high:
            # A label at the very end would stick out if it were centred.
            anchor = "end" if across(tick) > _WIDTH - _RIGHT - 16 else "middle"
            parts.append(
                f'<text x="{across(tick):.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{tick:g}</text>'
            )
    legend = []
    for i, (name, points) in enumerate(drawn.items()):
        colour = f"var(--c{i % _NUM_COLOURS})"
        path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in points)
        last = f"{escape(name)}: {points[-1][1]:.4g} at {points[-1][0]:g}"
        parts.append(
            f'<polyline class="curve" style="stroke: {colour}" points="{path}">'
            f"<title>{last}</title></polyline>"
        )
        legend.append(f'<span style="--key: {colour}">{escape(name)}</span>')
    # The title names a single curve well enough.
    key = f'<div class="legend">{"".join(legend)}</div>' if len(drawn) > 1 else ""
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">' + "".join(parts) + "</svg>" + key
    )


def _ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten that enclose ``low`` and ``high``."""
    span = (high - low) or abs(high) or 1.0
    raw = span / about
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 5, 10) if raw <= m * magnitude * (1 + 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # Rounding removes what floating point adds: 0.30000000000000004.
    digits = max(0, -math.floor(math.log10(step)))
    return [round(k * step, digits) for k in range(first, max(last, first + 1) + 1)]


def _thinned(points: Series) -> list[tuple[float, float]]:
    """At most ``_MOST_POINTS`` points, each the mean of a run of neighbours."""
    run = math.ceil(len(points) / _MOST_POINTS)
    if run == 1:
        return list(points)
    groups = [points[i : i + run] for i in range(0, len(points), run)]
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]

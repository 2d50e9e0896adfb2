"""One self-contained web page about a run: videos, curves, tables."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from d2video.utils.errors import UserError
from d2video.utils.files import replace_on_success
from demo.line_chart import Series, line_chart


class Table(NamedTuple):
    """A table of the report.

    Attributes:
        caption: what it shows.
        header: column titles.
        rows: cells; floats are shown with so many decimals, ``None`` as a dash.
        decimals: of floats.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    decimals: int = 1


def read_metrics(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, Series]:
    """Read curves out of the ``metrics.json`` that detectron2's trainer writes.

    Args:
        path: the file: one JSON object a line, each with ``iteration``.
        names: the scalars wanted; those that never occur are left out.

    Returns:
        name → (iteration, value) points in order. Where a resumed run wrote an iteration again, the
        later value counts. Values that are not finite are left out.

    Raises:
        UserError: the file is missing or has another form.
    """
    if not Path(path).is_file():
        raise UserError(f"metrics file {path} does not exist; train first")
    curves: dict[str, dict[int, float]] = {name: {} for name in names}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line)
                iteration = record["iteration"]
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise UserError(
                    f"{path}, line {number}: expected a JSON object with 'iteration', as "
                    "detectron2's JSONWriter writes it"
                ) from error
            for name in names:
                if math.isfinite(record.get(name, math.nan)):
                    curves[name][iteration] = record[name]
    return {name: sorted(points.items()) for name, points in curves.items() if points}


def write_report(
    path: str | os.PathLike[str],
    title: str,
    *,
    clips: Sequence[tuple[str, str | os.PathLike[str]]] = (),
    curves: Mapping[str, Mapping[str, Series]] | None = None,
    tables: Sequence[Table] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write the page. It needs no network and no other file than the clips, linked relatively.

    Args:
        path: HTML file to write.
        title: heading.
        clips: (caption, MP4, PNG or JPEG file) pairs; videos play at once, muted and in a loop.
        curves: chart title → series name → (x, y) points.
        tables: see :class:`Table`.
        notes: paragraphs of plain text under the heading.

    Returns:
        the path of the page, absolute.

    Raises:
        UserError: a clip does not exist, or the page cannot be written.
    """
    path = Path(path).absolute()
    sections = [_clips(clips, path.parent), _tables(tables), _curves(curves or {})]
    paragraphs = "".join(f"<p>{escape(note)}</p>\n" for note in notes)
    page = _PAGE.format(
        title=escape(title),
        style=_STYLE,
        notes=paragraphs,
        sections="\n".join(filter(None, sections)),
    )
    with replace_on_success(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def _clips(clips: Sequence[tuple[str, str | os.PathLike[str]]], folder: Path) -> str:
    figures = []
    for caption, clip in clips:
        if not Path(clip).is_file():
            raise UserError(f"{clip} for the report does not exist")
        link = quote(Path(os.path.relpath(Path(clip).absolute(), folder)).as_posix())
        shown = f'<video src="{escape(link)}" {_VIDEO_ATTRIBUTES}></video>'
        if Path(clip).suffix != ".mp4":
            shown = f'<img src="{escape(link)}" alt="{escape(caption)}">'
        figures.append(f"<figure>{shown}<figcaption>{escape(caption)}</figcaption></figure>")
    return _section("Predictions", '<div class="clips">' + "\n".join(figures) + "</div>", figures)


def _tables(tables: Sequence[Table]) -> str:
    blocks = []
    for table in tables:
        assert all(len(row) == len(table.header) for row in table.rows), table
        head = ""
        for k, name in enumerate(table.header):  # over its column, left or right
            kind = "" if any(isinstance(row[k], str) for row in table.rows) else ' class="number"'
            head += f'<th scope="col"{kind}>{escape(name)}</th>'
        rows = [
            "<tr>" + "".join(_cell(value, table.decimals) for value in row) + "</tr>"
            for row in table.rows
        ]
        blocks.append(
            f'<div class="card scroll"><table><caption>{escape(table.caption)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>" + "\n".join(rows) + "</tbody></table></div>"
        )
    return _section("Results", '<div class="cards">' + "\n".join(blocks) + "</div>", blocks)


def _cell(value: str | float | None, decimals: int) -> str:
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    if value is None or math.isnan(value):
        return '<td class="number">–</td>'
    return f'<td class="number">{value if isinstance(value, int) else f"{value:.{decimals}f}"}</td>'


def _curves(curves: Mapping[str, Mapping[str, Series]]) -> str:
    blocks = [
        f'<div class="card"><h3>{escape(title)}</h3>{line_chart(title, series)}</div>'
        for title, series in curves.items()
    ]
    return _section("Training", '<div class="cards">' + "\n".join(blocks) + "</div>", blocks)


def _section(title: str, body: str, content: Sequence[str]) -> str:
    return f"<section><h2>{title}</h2>\n{body}\n</section>" if content else ""


# Controls lie over the picture, so they appear only under the pointer or the keyboard's focus.
_VIDEO_ATTRIBUTES = (
    'autoplay muted loop playsinline preload="auto" tabindex="0" onfocus="this.controls=true" '
    'onpointerenter="this.controls=true" onpointerleave="this.controls=false"'
)

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{notes}</header>
<main>
{sections}
</main>
</body>
</html>
"""

_STYLE = """
:root {
  --page: #f6f7f9; --card: #ffffff; --ink: #1a1f29; --soft: #5b6473; --line: #dfe3ea;
  --c0: #1d6ff2; --c1: #e0533d; --c2: #159a6c; --c3: #9a4bd6; --c4: #d08700; --c5: #0d9db8;
  --c6: #c93a86; --c7: #6b7280;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11141a; --card: #1a1f28; --ink: #e8ebf0; --soft: #9aa4b4; --line: #2c333f;
    --c0: #6ba4ff; --c1: #ff8a73; --c2: #4fd1a1; --c3: #c68cf5; --c4: #f2b84b; --c5: #55cfe6;
    --c6: #f57fbb; --c7: #a5adba;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 78rem; background: var(--page);
  color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
h1 { margin: 0 0 .5rem; font-size: 2rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 1rem; font-size: 1.25rem; }
h3 { margin: 0 0 .75rem; font-size: 1rem; }
header p { margin: .35rem 0; max-width: 46rem; color: var(--soft); overflow-wrap: anywhere; }
.clips, .cards { display: grid; gap: 1.25rem; align-items: start; }
.clips { grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }
.cards { grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); }
.card, figure { min-width: 0; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.card { padding: 1.1rem 1.25rem; }
.scroll { overflow-x: auto; }
figure { margin: 0; overflow: hidden; }
video, img { display: block; width: 100%; background: #000; }
figcaption {
  padding: .7rem 1rem .8rem; font-size: .9rem; color: var(--soft); overflow-wrap: anywhere;
}
table { width: 100%; border-collapse: collapse; font-size: .95rem; }
caption { padding-bottom: .75rem; text-align: left; font-weight: 600; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: left; }
th, td.number { white-space: nowrap; }
tbody tr:last-child td { border-bottom: 0; }
th { color: var(--soft); font-weight: 500; font-size: .85rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.chart { display: block; width: 100%; height: auto; font-size: 12px; }
.chart text { fill: var(--soft); }
.chart .grid { stroke: var(--line); }
.chart .curve { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin-top: .6rem; }
.legend { font-size: .85rem; color: var(--soft); }
.legend span::before {
  content: ""; display: inline-block; width: .9rem; height: .22rem; margin-right: .45rem;
  border-radius: 2px; background: var(--key); vertical-align: middle;
}
"""

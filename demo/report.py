"""One self-contained web page about a run: videos, curves, tables."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from d2video.utils.errors import UserError
from d2video.utils.files import replace_on_success
from demo.chart import line_chart

Series = Sequence[tuple[float, float]]


class Table(NamedTuple):
    """A table of the report.

    Attributes:
        caption: what it shows.
        header: column titles.
        rows: cells; floats are shown with so many decimals, ``None`` and NaN as a dash.
        decimals: of floats.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    decimals: int = 1

    def shown(self, value: str | float | None) -> str:
        """A cell as text."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return "–"
        return f"{value:.{self.decimals}f}" if isinstance(value, float) else str(value)

    def is_number(self, column: int) -> bool:
        """Whether the column has no text, and stands right."""
        return not any(isinstance(row[column], str) for row in self.rows)


def write_report(
    path: str | os.PathLike[str],
    title: str,
    *,
    clips: Sequence[tuple[str, str | os.PathLike[str]]] = (),
    curves: Mapping[str, Mapping[str, Series]] | None = None,
    tables: Sequence[Table] = (),
    notes: Sequence[str] = (),
    links: Sequence[tuple[str, str | os.PathLike[str]]] = (),
) -> Path:
    """Write the page. It needs no network and no other file than the clips. Links are relative.

    Args:
        path: HTML file to write.
        title: heading.
        clips: (caption, MP4, PNG or JPEG file) pairs; videos play at once, muted and in a loop.
        curves: chart title → series name → (x, y) points; see :func:`line_chart`.
        tables: see :class:`Table`.
        notes: paragraphs of plain text under the heading.
        links: (words, file) pairs under the notes.

    Returns:
        the path of the page, absolute.

    Raises:
        UserError: a clip does not exist, or the page cannot be written.
    """
    import jinja2
    from markupsafe import Markup

    path = Path(path).absolute()
    shown = []
    for caption, clip in clips:
        if not Path(clip).is_file():
            raise UserError(f"{clip} for the report does not exist")
        shown.append((caption, _link(clip, path), Path(clip).suffix == ".mp4"))
    charts = []
    for name, series in (curves or {}).items():
        drawing = line_chart(name, series)
        charts.append((name, drawing and Markup(drawing), list(series)))
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    template = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("page.html.j2")
    page = template.render(
        title=title,
        notes=notes,
        links=[(words, _link(file, path)) for words, file in links],
        clips=shown,
        tables=tables,
        charts=charts,
    )
    with replace_on_success(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def _link(file: str | os.PathLike[str], page: Path) -> str:
    return quote(Path(os.path.relpath(Path(file).absolute(), page.parent)).as_posix())

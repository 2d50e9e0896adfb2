"""A page of sections, one HTML file that needs neither a network nor other files."""

import base64
import math
import mimetypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from d2video.report.chart import line_chart
from d2video.utils.errors import UserError
from d2video.utils.files import replace_on_success

Series = Sequence[tuple[float, float]]


class Media(NamedTuple):
    """A picture or a clip.

    Attributes:
        caption: text below it.
        file: MP4, PNG or JPEG; the page holds a copy. Videos play at once, muted and in a loop.
        wide: it spans the page; otherwise several stand side by side.
    """

    caption: str
    file: str | os.PathLike[str]
    wide: bool = False


class Table(NamedTuple):
    """A table.

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


class Chart(NamedTuple):
    """A line chart: series name → (x, y) points; see :func:`~d2video.report.chart.line_chart`."""

    title: str
    series: Mapping[str, Series]


class Section(NamedTuple):
    """A part of the page under its heading. One without content is left out.

    Attributes:
        title: heading.
        notes: paragraphs of plain text; then follow the media, the tables and the charts.
    """

    title: str
    notes: Sequence[str] = ()
    media: Sequence[Media] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()


def write_page(
    path: str | os.PathLike[str],
    title: str,
    sections: Sequence[Section],
    *,
    notes: Sequence[str] = (),
    links: Sequence[tuple[str, str | os.PathLike[str]]] = (),
) -> Path:
    """Write the page.

    Args:
        path: HTML file to write.
        title: heading.
        sections: in their order; all text in them is escaped.
        notes: paragraphs of plain text under the heading.
        links: (words, file) pairs under the notes; the page refers to the files relative to itself.

    Returns:
        the path of the page, absolute.

    Raises:
        UserError: a file of the media does not exist, or the page cannot be written.
    """
    import jinja2

    path = Path(path).absolute()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"embedded": _embedded, "drawn": _drawn, "is_video": _is_video}
    page = environment.get_template("page.html.j2").render(
        title=title,
        notes=notes,
        links=[(words, _link(file, path)) for words, file in links],
        sections=[section for section in sections if any(section[1:])],
    )
    with replace_on_success(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def _drawn(chart: Chart) -> str | None:
    from markupsafe import Markup

    drawing = line_chart(chart.title, chart.series)
    return drawing and Markup(drawing)


def _is_video(media: Media) -> bool:
    return Path(media.file).suffix == ".mp4"


def _embedded(media: Media) -> str:
    """The file as a data URL."""
    path = Path(media.file)
    if not path.is_file():
        raise UserError(f"{path} for the page does not exist")
    kind, _ = mimetypes.guess_type(path)
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _link(file: str | os.PathLike[str], page: Path) -> str:
    return quote(Path(os.path.relpath(Path(file).absolute(), page.parent)).as_posix())

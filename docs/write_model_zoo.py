"""Write the tables of published weights in docs/models/zoo.md and in each project's README anew."""

import re
from collections.abc import Sequence
from pathlib import Path

from d2video.fetching import web_page
from d2video.model_zoo import ENTRIES, Entry

BEGIN = "<!-- published weights: docs/write_model_zoo.py writes this table -->"
END = "<!-- end of published weights -->"


def markdown(entries: Sequence[Entry]) -> str:
    """A row for each entry, in their order."""
    header = ["model", "task", "trained on", "published", "weights", "format", "licence"]
    rows = [
        [
            f"`{entry.config}`" if entry.config else "(no config)",
            entry.task,
            entry.data,
            entry.metric,
            _weights(entry),
            f"`{entry.format}`" if entry.format else "",
            entry.licence,
        ]
        for entry in entries
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def _weights(entry: Entry) -> str:
    links = [f"[`{entry.file_name}`]({entry.link})"]
    links += [f"[or]({web_page(each)})" for each in entry.addresses[1:]]
    facts = [entry.size] if entry.size else []
    facts += [f"sha256 `{entry.sha256[:8]}…`"] if entry.sha256 else []
    facts += [entry.note] if entry.note else []
    return " ".join(links) + (f" ({'; '.join(facts)})" if facts else "")


def with_table(text: str, entries: Sequence[Entry]) -> str:
    """A document with the table in place of what stands between its marks."""
    assert text.count(BEGIN) == text.count(END) == 1
    block = f"{BEGIN}\n\n{markdown(entries)}\n\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: block, text, flags=re.DOTALL)


def documents(root: Path, entries: Sequence[Entry]) -> dict[Path, str]:
    """The documents of a checkout that hold the table, with today's: docs/models/zoo.md all of it, a
    project's README the rows of its configs."""
    found = {root / "docs/models/zoo.md": [*entries]}
    for readme in sorted(root.glob("projects/*/README.md")):
        found[readme] = [e for e in entries if e.system == readme.parent.name]
    return {path: with_table(path.read_text(), rows) for path, rows in found.items()}


if __name__ == "__main__":
    for path, text in documents(Path(__file__).parents[1], ENTRIES).items():
        path.write_text(text)

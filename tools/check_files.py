#!/usr/bin/env python3
"""Check files before a commit: no file above 1 MB, and no outputs in notebooks::

tools/check_files.py notebooks/*.ipynb docs/images/*.png
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_MAX_BYTES = 1_000_000


def faults(paths: Sequence[Path]) -> Iterator[str]:
    """One line for each fault in the files."""
    for path in paths:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            yield f"{path}: {size:,} bytes, more than {_MAX_BYTES:,}; leave it out or make it smaller"
        if path.suffix == ".ipynb":
            yield from _notebook_faults(path)


def _notebook_faults(path: Path) -> Iterator[str]:
    for number, cell in enumerate(json.loads(path.read_text())["cells"], 1):
        if cell.get("outputs") or cell.get("execution_count") is not None:
            yield f"{path}: cell {number} has outputs; clear all outputs"
        lines = "".join(cell["source"]).splitlines()
        if cell["cell_type"] == "code" and any(line.lstrip()[:1] in ("%", "!") for line in lines):
            yield f"{path}: cell {number} has a magic or a shell command; use Python"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", type=Path, nargs="+", metavar="FILE")
    found = list(faults(parser.parse_args().paths))
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    sys.exit(bool(found))

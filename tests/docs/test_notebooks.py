"""The notebooks run from top to bottom, and are stored without outputs.

Their cells are plain Python and run with ``exec`` in a forked process. A kernel of Jupyter would take six
seconds for its imports.
"""

import ast
import contextlib
import io
import json
import os

import pytest

from tests.helpers import ROOT
from tests.helpers.fresh_process import call_fresh

NOTEBOOKS = sorted(path.name for path in ROOT.glob("notebooks/*.ipynb"))


def cells_of(name: str) -> list[dict]:
    return json.loads((ROOT / "notebooks" / name).read_text())["cells"]


def run(name: str, folder: str) -> None:
    os.chdir(folder)
    names: dict = {}
    for index, cell in enumerate(cells_of(name)):
        if cell["cell_type"] == "code":
            code = compile("".join(cell["source"]), f"{name}, cell {index}", "exec")
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, names)


def test_there_are_three():
    assert len(NOTEBOOKS) == 3


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_outputs(name):
    for cell in cells_of(name):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            ast.parse("".join(cell["source"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(name, tmp_path):
    call_fresh(run, name, str(tmp_path))

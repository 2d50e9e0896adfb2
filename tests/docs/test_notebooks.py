"""The notebooks run from top to bottom, and are stored without outputs.

Their cells run in a forked process that has torch and detectron2 imported. A kernel would import both again,
6 s of the processor for each notebook; the long test uses one. Cells therefore hold plain Python only.
"""

import ast
import json

import pytest

from tests.helpers import ROOT
from tests.helpers.fresh_process import run_fresh

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Cells that end in a value show it, as in a notebook.
RUN = """
import ast, json, sys
path = sys.argv[1]
names = {"__name__": "__main__"}
for number, cell in enumerate(json.load(open(path))["cells"], 1):
    if cell["cell_type"] == "code":
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        place = f"{path}, cell {number}"
        exec(compile(tree, place, "exec"), names)
        if last is not None:
            repr(eval(compile(ast.Expression(last.value), place, "eval"), names))
"""


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
    environment = {"TMPDIR": str(tmp_path)}
    done = run_fresh("-c", RUN, path, environment=environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.long
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_in_a_kernel(path, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    nbclient.NotebookClient(nbformat.read(path, 4), timeout=300).execute()


def test_they_have_no_outputs_and_plain_python():
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                assert cell["outputs"] == []
                assert cell["execution_count"] is None
                ast.parse("".join(cell["source"]))  # fails at a magic or a shell command

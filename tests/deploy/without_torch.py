"""Programs in a process that cannot import what running an exported model must not need."""

import json
import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT

_FORBIDDEN = ("torch", "detectron2", "scipy", "PIL", "av", "pycocotools", "onnx")
_PROGRAM = """
import json, sys
for name in {forbidden!r}:
    sys.modules[name] = None
sys.path.insert(0, {root!r})
from d2video.deploy.__main__ import main
main(sys.argv[1:])
"""


def run_without_torch(folder: Path, source: Path, results: Path) -> dict:
    """``python -m d2video.deploy``: the results file."""
    program = _PROGRAM.format(forbidden=_FORBIDDEN, root=str(ROOT))
    words = [sys.executable, "-c", program, folder, source, "--output", results]
    # An interpreter of its own: the server of fresh processes has torch.
    done = subprocess.run([*map(str, words)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(results.read_text())

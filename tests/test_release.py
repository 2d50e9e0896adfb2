"""What a release states in several places is the same everywhere."""

import importlib.util
import re
import subprocess
import sys

import pytest
import yaml

import d2video
from tests.helpers import ROOT

VERSION = d2video.__version__


def test_version():
    newest = re.search(r"^## (\S+) - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert newest
    assert (newest[1], newest[2]) == (VERSION, str(citation["date-released"]))
    assert citation["version"] == VERSION


def test_the_matrix_of_ci_is_what_the_package_supports():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    minors = re.search(r"for minor in \((.*?)\)", (ROOT / "setup.py").read_text())
    assert minors
    assert versions == [f"3.{minor.strip()}" for minor in minors[1].split(",")]
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            # A tag can be moved to other code.
            assert re.search(r"@[0-9a-f]{40}$", step.get("uses", "@" + "0" * 40))


@pytest.mark.long
@pytest.mark.skipif(not importlib.util.find_spec("twine"), reason="pip install '.[release]'")
def test_sdist_and_wheel(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT], check=True
    )
    files = [*tmp_path.iterdir()]
    assert {file.suffix for file in files} == {".gz", ".whl"}
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)
    wheel = next(tmp_path.glob("*.whl"))
    subprocess.run(["check-wheel-contents", wheel], check=True)

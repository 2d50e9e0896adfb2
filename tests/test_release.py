"""What a release states agrees in all places, and its archives hold what they should."""

import re
import shutil
import subprocess
import sys
import tarfile

import pytest
import yaml

import d2video
from tests.helpers import ROOT

CI = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
CLASSIFIERS = (ROOT / "setup.py").read_text()


def test_the_version_is_the_same_everywhere():
    newest = re.search(
        r"^## \[(\d+\.\d+\.\d+)\] – (\d{4}-\d\d-\d\d)$",
        (ROOT / "CHANGELOG.md").read_text(),
        re.MULTILINE,
    )
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert newest.group(1) == str(citation["version"]) == d2video.__version__
    assert newest.group(2) == str(citation["date-released"])


def test_every_python_of_the_classifiers_is_tested():
    minors = re.search(r"for minor in \(([\d, ]+)\)", CLASSIFIERS).group(1).split(", ")
    assert CI["jobs"]["test"]["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in minors]
    assert f'python_requires=">=3.{minors[0]}"' in CLASSIFIERS


def test_every_system_of_the_classifiers_is_tested():
    stated = {"Linux": "ubuntu", "MacOS": "macos"}
    systems = {
        name.rpartition(" :: ")[2]
        for name in re.findall(r'"Operating System :: (.*)"', CLASSIFIERS)
    }
    tested = {os.partition("-")[0] for os in CI["jobs"]["test"]["strategy"]["matrix"]["os"]}
    assert {stated[name] for name in systems} == tested


def test_actions_are_pinned_by_commit():
    text = (ROOT / ".github/workflows/ci.yml").read_text()
    uses = re.findall(r"uses: (.+)", text)
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem
)
def test_issue_forms_are_yaml_with_unique_ids(path):
    fields = yaml.safe_load(path.read_text()).get("body", [])
    ids = [field["id"] for field in fields]
    assert len(ids) == len({*ids})


def test_every_development_tool_has_one_version():
    """In constraints.txt, for each Python."""
    dev = re.search(r'"dev": \[(.*?)\]', CLASSIFIERS, re.DOTALL).group(1)
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    needed = {name.lower() for name in re.findall(r'"([\w-]+)>=', dev)}
    assert needed - pinned == set()


@pytest.mark.slow
def test_the_source_archive_holds_what_building_and_citing_need(tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, copy)
    for name in ("d2video", "projects", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "tests").mkdir()
    (copy / "tests/test_x.py").touch()
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "sdist"], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (archive,) = (copy / "dist").iterdir()
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    notices = ("LICENSE", "CHANGELOG.md", "CITATION.cff", "THIRD_PARTY_NOTICES.md", "README.md")
    assert {*notices, "setup.py", "pyproject.toml", "constraints.txt"} <= names
    wanted = {
        path.relative_to(ROOT).as_posix()
        for folder, pattern in (
            ("d2video", "**/*.py"),
            ("d2video", "**/*.j2"),
            ("projects", "*/*/**/*.py"),
            ("configs", "**/*.yaml"),
        )
        for path in (ROOT / folder).glob(pattern)
    }
    assert wanted - names == set()
    assert not [name for name in names if name.startswith("tests/")]

"""Former names of commands: what scripts gave them, and what they read of the answers."""

import json

import pytest

from d2video.cli import FORMER_NAMES, command, split
from tests.helpers import ROOT
from tests.helpers.mot_folders import write_sequence
from tests.helpers.ytvis_content import content

pytestmark = pytest.mark.usefixtures("scratch_catalog")
# One object that does not move, and one of another class.
ROWS = [f"{t},{k},5,5,10,10,1,{cls},1" for t in range(1, 5) for k, cls in ((1, 1), (2, 3))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A sequence in mot/a, and results equal to its labels of class 1 in tracks and of the second half in
    half."""
    monkeypatch.chdir(tmp_path)
    write_sequence(tmp_path / "mot" / "a", length=4, gt=ROWS)
    (tmp_path / "mot" / "a" / "gt" / "labels.txt").write_text("person\nbicycle\ncar\n")
    for name, frames in (("tracks", 4), ("half", 2)):
        (tmp_path / name).mkdir()
        rows = [f"{t},7,5,5,10,10,1,-1,-1,-1\n" for t in range(1, frames + 1)]
        (tmp_path / name / "a.txt").write_text("".join(rows))
    (tmp_path / "vis.json").write_text(json.dumps(content()))
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "--ground-truth mot --benchmark MOT17 --results tracks",
        "--ground-truth mot --benchmark MOT17 --results half --frame-range 0.5 1 --sequences a",
        "--ground-truth mot --benchmark MOT17 --results tracks --classes 1 --min-visibility 0.5",
        "--ground-truth mot --benchmark MOT17 --results tracks --classes person --with-flag-0",
    ],
)
def test_evaluate_mot(folder, capsys, line):
    command("evaluate-mot")([*line.split(), "--output", "all.json"])
    said = capsys.readouterr().out.splitlines()
    assert "is sound: " in said[0]
    assert said[-1].split()[:4] == ["|", "COMBINED", "|", "100.00"]
    figures = json.loads((folder / "all.json").read_text())
    assert figures["combined"]["summary"]["HOTA"] == 100


def test_evaluate_mot_of_several_classes_and_without_labels(folder, capsys):
    line = "--ground-truth mot --benchmark MOT17 --results tracks"
    rows = [
        f"{t},{k},5,5,10,10,1,{cls},-1,-1\n" for t in range(1, 5) for k, cls in ((1, 1), (2, 3))
    ]
    (folder / "tracks" / "a.txt").write_text("".join(rows))
    command("evaluate-mot")([*line.split(), "--classes", "person", "3"])
    assert capsys.readouterr().out.splitlines()[-1].startswith("| detection average | 100.00")
    (folder / "tracks" / "a.txt").write_text(rows[0])
    (folder / "mot").rename("test")
    (folder / "test" / "a" / "gt" / "gt.txt").unlink()
    command("evaluate-mot")(line.replace("mot", "test").split())
    assert capsys.readouterr().out.splitlines()[-1] == "test/ has no labels: nothing is scored"


def test_validate_results(folder, capsys):
    (folder / "results.json").write_text("[]")
    command("validate-results")(["results.json", "vis.json"])
    assert capsys.readouterr().out == "results.json is sound: 0 tracks in 0 of 2 videos\n"


def test_split_ytvis_is_split():
    assert command("split-ytvis") is split.main


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("evaluate-mot --ground-truth mot --results tracks", "--ground-truth needs --benchmark"),
        ("evaluate-mot --dataset nix --results tracks", "dataset 'nix' is not registered"),
        (
            "evaluate-mot --ground-truth mot --benchmark MOT17 --results tracks --with-flag-0",
            "with_flag_0",
        ),
        ("validate-results vis.json vis.json", "must be a list of entries"),
        ("split-ytvis nix.json --train-output a --held-out b", "'nix.json' is neither"),
    ],
)
def test_mistakes_are_one_line(folder, capsys, line, message):
    name, *words = line.split()
    with pytest.raises(SystemExit) as end:
        command(name)(words)
    error = capsys.readouterr().err
    assert (end.value.code, error.count("\n")) == (1, 1)
    assert message in error


def test_each_has_its_door_in_tools():
    for name in (each.replace("-", "_") for each in FORMER_NAMES):
        text = (ROOT / "tools" / f"{name}.py").read_text()
        assert f"from d2video.cli.former import {name}\n" in text

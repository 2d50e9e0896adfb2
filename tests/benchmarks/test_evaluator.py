"""The evaluator's speed, against the calls that the official code makes, in one run."""

import json

import pytest

from benchmarks.evaluator import main
from benchmarks.evaluator_stages import measure
from benchmarks.synthetic_tracks import SetShape, make_set


def test_tool(tmp_path, capsys):
    path = tmp_path / "figures.json"
    main(["--videos", "1", "--repeats", "1", "--json", str(path)])
    assert "dense masks" in capsys.readouterr().out
    figures = json.loads(path.read_text())
    assert figures["videos"] == 1
    assert figures["dense masks"]["ratio"] > 0


def test_sets_are_seeded():
    small = SetShape(videos=2, frames=3, height=40, width=60, predictions=4)
    assert make_set(small, 1) == make_set(small, 1) != make_set(small, 2)


@pytest.mark.slow
def test_more_than_three_times_as_fast_as_the_official_calls_encoding_included():
    """Measured: 4.4 times on one processor, 3.7 to 4.1 on another (docs/figures.md)."""
    figures = measure(*make_set(SetShape(videos=5, classes=10), seed=0), repeats=7)
    assert figures["dense masks"]["ratio"] >= 3.5
    # Without encoding less can be won: most of ours is pycocotools parsing every code once.
    assert figures["RLE"]["ratio"] >= 2

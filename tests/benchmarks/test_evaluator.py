"""The evaluator's speed, against the calls that the official code makes, in one run."""

import json

import pytest

from benchmarks.evaluator import SIZES, main
from benchmarks.evaluator_stages import measure
from benchmarks.synthetic_tracks import SetShape, make_set


def shape(**changed: int) -> SetShape:
    """Of the reference, but for what is changed."""
    return SetShape(**{name: default for name, (default, _) in SIZES.items()} | changed)


def test_tool(tmp_path, capsys):
    sizes = ["--videos", "2", "--frames", "3", "--predictions", "4", "--tracks", "3"]
    sizes += ["--height", "40", "--width", "60", "--classes", "2"]
    main([*sizes, "--json", str(tmp_path / "figures.json")])
    assert "sum, model answers with dense masks" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["set"]["videos"] == 2
    assert figures["ratio_dense"] > 0


def test_sets_are_seeded():
    small = shape(videos=2, frames=3, height=40, width=60, predictions=4, tracks=3)
    assert make_set(small, 1) == make_set(small, 1) != make_set(small, 2)


@pytest.mark.slow
def test_four_times_as_fast_as_the_official_calls_encoding_included():
    data = make_set(shape(videos=5, tracks=14, classes=10), seed=0)
    figures = measure(data, repeats=7, dense_tracks=6)
    assert figures["ratio_dense"] >= 4
    # Without encoding less can be won: most of ours is pycocotools parsing every code once.
    assert figures["ratio_rle"] >= 2

"""projects/VTN/tools/benchmark_temporal.py with a small encoder."""

import json
import re

import pytest
from d2video.projects.vtn import temporal_benchmark

from projects.VTN.tools.benchmark_temporal import main

GROWN = ["median_s", "cpu_s", "peak_gb", "added_gb"]


@pytest.fixture
def temporal(monkeypatch):
    """Of the temporal encoder, with a small one, in this process."""
    module = temporal_benchmark
    monkeypatch.setattr(module, "LENGTHS", [20, 80, 4000])
    small = {"hidden_dim": 16, "num_heads": 2, "num_layers": 2, "dim_feedforward": 32}
    monkeypatch.setattr(module, "SIZES", module.SIZES | small)
    monkeypatch.setattr(module, "apart", lambda function, *args: function(*args))
    return module


def test_temporal_encoders_side_by_side(temporal, tmp_path, monkeypatch, capsys):
    pytest.importorskip("transformers")
    turns = []

    def count_turns(run, device) -> float:
        turns.append(run)
        return float(len(turns))

    monkeypatch.setattr(temporal, "timed", count_turns)
    path = tmp_path / "figures.json"
    main(["--warmup", "1", "--repeats", "3", "--json", str(path)])
    content = json.loads(path.read_text())
    assert list(content["results"]) == ["20", "80", "4000"]
    # Four turns each, the first without counting: turns 3, 5 and 7 are VTN's, 4, 6 and 8 the other's.
    assert len(turns) == 3 * 2 * 4
    assert turns[0] is turns[2] is turns[6] is not turns[1]
    for i, rows in enumerate(content["results"].values()):
        assert rows["VTN"]["median_s"] == 8 * i + 5
        assert rows["Longformer"]["median_s"] == 8 * i + 6
    assert content["growth"]["VTN"]["median_s"] == 21 / 13
    assert "VTN, 4000 frames against 80: time x1.62" in capsys.readouterr().out


def test_without_transformers_the_encoder_is_measured_alone(temporal, monkeypatch, capsys):
    monkeypatch.setattr(temporal, "growth", lambda *args: dict.fromkeys(GROWN, 1))
    monkeypatch.setattr(temporal.importlib.util, "find_spec", lambda name: None)
    main(["--warmup", "0", "--repeats", "1"])
    printed = capsys.readouterr().out
    assert "transformers is not installed, Longformer is left out: pip install" in printed
    rows = [line.split() for line in printed.splitlines() if " VTN " in line]
    assert [row[:2] for row in rows] == [["20", "VTN"], ["80", "VTN"], ["4000", "VTN"]]
    header = next(line for line in printed.splitlines() if line.startswith("frames"))
    columns = re.findall(r"\S+(?: s| GB)?", header)
    assert columns == ["frames", "median s", "min", "max", "CPU s", "peak GB", "added GB"]
    assert {len(row) for row in rows} == {len(columns) + 1}  # and the name

"""d2video benchmark on very small models."""

import json
import os

import pytest
import torch
from d2video.projects.trackformer.benchmark import tracking_step

from d2video.cli.benchmark import main, measure_row
from d2video.config import load_cfg
from d2video.inference.benchmark import Setting, rows_of
from d2video.utils import measuring
from d2video.utils.errors import UserError
from tests.helpers import ROOT
from tests.helpers.fresh_process import run_fresh
from tests.helpers.systems import SYSTEMS, system_cfg
from tests.projects.DETR import tiny as detr
from tests.projects.TrackFormer import tiny as trackformer
from tests.projects.VisTR.tiny import CONFIG, SMALL

OPTIONS = ["MODEL.DEVICE", "cpu", *map(str, SMALL)]
TRACKER = "configs/TrackFormer/trackformer_tiny_shapes.yaml"
TRACKER_OPTIONS = [
    "MODEL.DEVICE",
    "cpu",
    *map(str, [*trackformer.SMALL, *trackformer.MULTI_FRAME]),
]
SIZES = ((32, 48), (64, 96))

pytestmark = pytest.mark.usefixtures("loggers_as_before")


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def measured(name, config=CONFIG, options=OPTIONS) -> dict[str, float]:
    return measure_row(load_cfg(config, options), name, *SIZES, 2)


@pytest.mark.parametrize(
    "name",
    ["masks at network size", "masks at video size as RLE", "with JPEG decoding as well"],
)
def test_rows(name):
    figures = measured(name)
    assert 0 < figures["min_s"] <= figures["median_s"] <= figures["max_s"]
    assert figures["peak_gb"] > 0.05


@pytest.mark.parametrize("variant", ["multi_frame", "detr_masks"])
def test_steps_of_a_tracker_keep_their_tracks(variant, monkeypatch, tmp_path):
    """As often as they are repeated: the network gets as many track queries as the row says."""
    cfg = trackformer.tiny_cfg(variant)
    model = trackformer.build(variant).eval()
    asked = []
    forward = model.network.forward

    def spy(features, current, previous, track_queries, all_layers=True):
        count = 0 if track_queries is None else track_queries.embeddings.shape[1]
        asked.append((count, len(previous)))
        return forward(features, current, previous, track_queries, all_layers)

    monkeypatch.setattr(model.network, "forward", spy)
    for num_tracks in (0, 5):
        run = tracking_step(cfg, model, Setting(*SIZES, tmp_path), num_tracks)
        run()
        run()
        # Before the first frame stands the frame itself.
        assert asked == [(num_tracks, model.network.num_previous)] * 3
        asked.clear()


def test_repeats_0_is_a_mistake(capsys):
    with pytest.raises(SystemExit):
        main(["--config-file", CONFIG, "--repeats", "0"])
    assert capsys.readouterr().err.endswith(
        "error: argument --repeats: must be at least 1, not 0\n"
    )


def test_table_and_file_of_a_tracker(tmp_path, monkeypatch, capsys):
    """Of one frame, and with the floor; the measurements are made up."""
    figures = {"median_s": 0.5, "min_s": 0.4, "max_s": 0.6, "peak_gb": 1.0}
    floor = {"gflop": 30.0, "matmul_gflops": 100.0, "floor_s": 0.3}
    monkeypatch.setattr(measuring, "apart", lambda *_: figures | floor)
    path = tmp_path / "figures.json"
    command = ["--config-file", TRACKER, "--json", str(path)]
    main([*command, *TRACKER_OPTIONS])
    printed = capsys.readouterr().out
    assert "1 frames of 300x540" in printed
    content = json.loads(path.read_text())
    assert content["num_frames"] == 1
    assert list(content["results"]) == [f"step with {n} tracks" for n in (0, 20, 60, 100)]
    for name, row in content["results"].items():
        assert row == figures | floor
        line = next(line for line in printed.splitlines() if line.startswith(f"{name}  "))
        assert line.split()[-8:] == [
            "2.00",
            "0.50",
            "0.40",
            "0.60",
            "1.00",
            "30.00",
            "100.00",
            "0.30",
        ]
    assert "frames/s" in printed


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_is_measured(system):
    task = {"MODEL__IPT__TASK": "sr_x2"} if system == "IPT" else {}
    cfg = system_cfg(system, MODEL__DEVICE="cpu", **task)
    first = next(iter(rows_of(cfg)))
    assert measure_row(cfg, first, (64, 64), (64, 96), 1)["median_s"] > 0


@pytest.mark.slow
def test_rows_of_a_tracker():
    names = ["step with 20 tracks", "step with 100 tracks"]
    few, many = (measured(name, TRACKER, TRACKER_OPTIONS) for name in names)
    for figures in (few, many):
        assert 0 < figures["floor_s"] < figures["median_s"]
        assert figures["floor_s"] == pytest.approx(figures["gflop"] / figures["matmul_gflops"])
    assert 0 < few["gflop"] < many["gflop"]


@pytest.mark.slow
def test_memory_of_a_row_is_its_own():
    torch.ones(2**28)  # 1 GiB that this process, but no other, has once held
    mine = measuring.peak_resident() / 1e9
    assert mine > 1
    figures = measuring.apart(measured, "masks at network size")
    assert figures["peak_gb"] < mine - 0.5


def test_a_measurement_that_is_killed_is_one_line():
    with pytest.raises(UserError, match="was killed, as the system does when memory is short"):
        measuring.apart(os._exit, 9)


@pytest.mark.slow
def test_command_line(tmp_path):
    """Of a system with one row: each takes a new interpreter."""
    words = ["-m", "d2video", "benchmark", "--config-file", "configs/DETR/detr_tiny_shapes.yaml"]
    words += ["--size", "32", "48", "--video-size", "64", "96", "--repeats", "1"]
    words += ["--json", tmp_path / "figures.json", "MODEL.DEVICE", "cpu", *detr.SMALL]
    done = run_fresh(*words)
    assert done.returncode == 0, done.stderr[-2000:]
    content = json.loads((tmp_path / "figures.json").read_text())
    assert content["size"] == [32, 48]
    (name,) = content["results"]
    assert name in done.stdout

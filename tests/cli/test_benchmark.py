"""d2video benchmark on very small models."""

import json
import os

import pytest
import torch
from d2video.projects.trackformer.benchmark import tracking_step

from d2video.cli.benchmark import main, measure_row, measure_step
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
    """Of one frame; the measurements are made up."""
    figures = {"median_s": 0.5, "cpu_s": 0.9, "floor_s": 0.3, "floors": 1.67}
    monkeypatch.setattr(measuring, "apart", lambda *_: figures)
    path = tmp_path / "figures.json"
    command = ["--config-file", TRACKER, "--json", str(path)]
    main([*command, *TRACKER_OPTIONS])
    printed = capsys.readouterr().out
    content = json.loads(path.read_text())
    assert (content["task"], content["size"]) == ("inference", [300, 540])
    assert content["command"].startswith(f"d2video benchmark --config-file {TRACKER}")
    assert list(content["results"]) == [f"step with {n} tracks" for n in (0, 20, 60, 100)]
    for name, row in content["results"].items():
        assert row == {"frames/s": 2.0, **figures}
        line = next(line for line in printed.splitlines() if line.startswith(f"{name}  "))
        assert line.split()[-5:] == ["2", "0.5", "0.9", "0.3", "1.67"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_training_step_of_every_system(system, tmp_path):
    """Of generated data of its kind."""
    figures = measure_step(system_cfg(system, MODEL__DEVICE="cpu"), (str(tmp_path), (64, 96)), 2, 1)
    assert 0 < figures["floor_s"] < figures["median_s"]
    assert figures["floors"] == pytest.approx(figures["median_s"] / figures["floor_s"])
    assert 0 < figures["saved_gb"] < figures["peak_gb"]


def test_precision_and_checkpointing_of_a_training_step(tmp_path):
    cfg = load_cfg(CONFIG, [*OPTIONS, "MODEL.ACTIVATION_CHECKPOINT", "True"])
    plain = measure_step(load_cfg(CONFIG, OPTIONS), (str(tmp_path), (64, 96)), 1, 1)
    less = measure_step(cfg, (str(tmp_path), (64, 96)), 1, 1)
    assert less["saved_gb"] < 0.8 * plain["saved_gb"]
    assert less["gflop"] > plain["gflop"]


def test_workers_of_a_loader(capsys):
    command = ["--task", "loader", "--config-file", CONFIG, "--video-size", "64", "96"]
    main([*command, "--batch", "4", "--step-seconds", "0.0001", *OPTIONS])
    names, row = (line.split() for line in capsys.readouterr().out.splitlines()[-2:])
    figures = dict(zip(names, row[1:], strict=True))
    assert float(figures["workers"]) == pytest.approx(
        float(figures["cpu_s"]) * 4e4, rel=0.01, abs=1
    )


def test_evaluators_need_no_model(capsys, monkeypatch):
    from d2video.evaluation import benchmark

    asked = []
    figures = {"YouTube-VIS, RLE": {"ours": 1.0, "official": 2.5, "ratio": 2.5}}
    monkeypatch.setattr(
        benchmark, "evaluator_figures", lambda shape, repeats: asked.append(shape) or figures
    )
    main(["--task", "evaluator", "--video-size", "360", "640"])
    assert (asked[0].height, asked[0].width) == (360, 640)
    assert capsys.readouterr().out.splitlines()[-1].split() == [
        "YouTube-VIS,",
        "RLE",
        "1",
        "2.5",
        "2.5",
    ]


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

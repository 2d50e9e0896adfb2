"""tools/train_net.py from end to end on a few generated videos."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model

from d2video.config import get_cfg
from d2video.synthetic import write_ytvis_shapes
from tests.helpers import ROOT
from tests.helpers.fresh_process import FreshProcess, run_fresh
from tests.projects.VisTR.tiny import CONFIG, SMALL, tiny_cfg

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("datasets")
    write_ytvis_shapes(root / "shapes", {"train": 8, "val": 3}, progress=False)
    return root


def train_net(data, *arguments) -> subprocess.CompletedProcess:
    words = ["tools/train_net.py", "--config-file", CONFIG, *arguments]
    return run_fresh(*words, environment={"DETECTRON2_DATASETS": str(data)})


def check_mistake(done: subprocess.CompletedProcess, message: str) -> None:
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert re.search(r"^error: .*" + message, last), done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert "Starting training" not in done.stdout + done.stderr


def test_a_mistake_in_an_interpreter_of_its_own(data, tmp_path):
    """As a user starts it, where the other tests use :func:`run_fresh`."""
    command = [sys.executable, "tools/train_net.py", "--config-file", CONFIG]
    command += map(str, options(tmp_path, MODEL__WEIGHTS="missing.pth"))
    environment = {**os.environ, "DETECTRON2_DATASETS": str(data)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    check_mistake(done, r"missing\.pth: no such file")


def options(folder, **extra) -> list:
    pairs = {
        "OUTPUT_DIR": folder,
        "MODEL.DEVICE": "cpu",
        "DATALOADER.NUM_WORKERS": 0,
        "SOLVER.MAX_ITER": 4,
        "SOLVER.IMS_PER_BATCH": 4,
        "MODEL.RESNETS.NORM": "FrozenBN",
        **{key.replace("__", "."): value for key, value in extra.items()},
    }
    return [*SMALL, *(item for pair in pairs.items() for item in pair)]


def metrics(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


def test_train_resume_and_evaluate(data, tmp_path):
    test = get_cfg().TEST  # as users have it
    shown = {
        "TEST__HELD_OUT__NUM_SAMPLES": test.HELD_OUT.NUM_SAMPLES,
        "TEST__VISUALIZE__NUM_SAMPLES": test.VISUALIZE.NUM_SAMPLES,
        "TEST__VISUALIZE__NUM_CLIPS": test.VISUALIZE.NUM_CLIPS,
    }
    done = train_net(data, *options(tmp_path, TEST__EVAL_PERIOD=0, **shown))
    assert done.returncode == 0, done.stderr[-2000:]
    start, *_ = done.stdout.split("Starting training from iteration 0")
    assert len(start.splitlines()) <= 60
    assert "shapes_train (3 classes)" in start
    assert "warning" not in done.stderr.lower()
    log = (tmp_path / "log.txt").read_text()
    assert "\x1b" not in log
    assert "Environment:" in log
    assert "META_ARCHITECTURE: VisTR" in log
    assert "(network): " in log
    assert (tmp_path / "model_final.pth").is_file()
    assert 0 <= metrics(tmp_path)[-1]["segm/AP50"] <= 100
    assert list((tmp_path / "inference").rglob("results.json"))
    page = (tmp_path / "report.html").read_text()
    assert "Predictions on shapes_val" in page
    assert "No clips" not in page
    assert (page.count("data:image/jpeg"), page.count("data:video/mp4")) == (4, 3)

    more = train_net(data, "--resume", *options(tmp_path, SOLVER__MAX_ITER=6))
    assert more.returncode == 0, more.stderr[-2000:]
    assert "Starting training from iteration 4" in more.stdout + more.stderr
    trained = [record for record in metrics(tmp_path) if "total_loss" in record]
    assert trained[-1]["iteration"] == 5

    weights = ["MODEL.WEIGHTS", tmp_path / "model_final.pth"]
    evaluated = train_net(data, "--eval-only", *options(tmp_path / "eval"), *weights)
    assert evaluated.returncode == 0, evaluated.stderr[-2000:]
    assert "AP50" in evaluated.stdout + evaluated.stderr


def test_two_processes_train_like_one(data, tmp_path):
    """The same batches: with the losses' sums divided over all processes, the weights are equal.

    Plain SGD without warm-up or clipping, so that a step is as long as its gradient; AdamW's length
    would tell nothing of it.
    """
    fixed = {
        "SEED": 3,
        "INPUT__AUGMENTATIONS": "[]",
        "SOLVER__MAX_ITER": 3,
        "SOLVER__OPTIMIZER": "SGD",
        "SOLVER__BASE_LR": 0.01,
        "SOLVER__WARMUP_ITERS": 0,
        "SOLVER__CLIP_GRADIENTS__ENABLED": False,
        "TEST__HELD_OUT__NUM_SAMPLES": 4,
        "TEST__VISUALIZE__NUM_SAMPLES": 1,
    }
    start = tmp_path / "start.pth"
    torch.manual_seed(0)
    model = build_model(tiny_cfg("MODEL.RESNETS.NORM", "FrozenBN"))
    torch.save({"model": model.state_dict()}, start)
    fixed["MODEL__WEIGHTS"] = start
    alone = train_net(data, *options(tmp_path / "one", **fixed))
    assert alone.returncode == 0, alone.stderr[-2000:]
    pair = train_net(
        data, "--num-gpus", 2, "--dist-url", "auto", *options(tmp_path / "two", **fixed)
    )
    assert pair.returncode == 0, pair.stderr[-2000:]
    assert "warning" not in pair.stderr.lower()
    one = torch.load(tmp_path / "one/model_final.pth", weights_only=True)["model"]
    two = torch.load(tmp_path / "two/model_final.pth", weights_only=True)["model"]
    # Float32 sums in another order, through three steps.
    for name in ("total_loss", "held_out/total_loss", "held_out/matched_iou"):
        first, second = (
            next(line[name] for line in metrics(tmp_path / run) if name in line)
            for run in ("one", "two")
        )
        assert first == pytest.approx(second, rel=1e-3), name
    initial = torch.load(start, weights_only=True)["model"]
    for part in ("backbone", "transformer", "class_embed", "insmask_head"):
        names = [name for name in initial if name.startswith(f"network.{part}.")]
        moved = max((one[name] - initial[name]).abs().max().item() for name in names)
        apart = max((one[name] - two[name]).abs().max().item() for name in names)
        assert moved > 1e-5, part
        assert apart < 0.02 * moved, part


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["MODEL.WEIGHTS", "missing.pth"], r"missing\.pth: no such file"),
        (["MODEL.VISTR.NO_SUCH_KEY", "1"], r"NO_SUCH_KEY"),
        (["DATASETS.TRAIN", "('shapes_trian',)"], r"'shapes_trian' is not registered"),
        (["MODEL.DEVICE", "cuda"], r"torch finds no GPU"),
        (["SOLVER.AMP.ENABLED", "True"], r"float16 training needs a GPU"),
        (["DATASETS.TEST", "('shapes_vall',)"], r"'shapes_vall' is not registered"),
        (["MODEL.VISTR.NUM_CLASSES", "2"], r"shapes_train has 3 classes.*to 3 or more, not 2"),
    ],
)
def test_mistakes_end_in_one_line(data, tmp_path, arguments, message):
    if arguments[1] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    check_mistake(train_net(data, *options(tmp_path / "out"), *arguments), message)


def test_class_count_of_the_checkpoint(data, tmp_path):
    train_net(data, *options(tmp_path, SOLVER__MAX_ITER=1, DATASETS__TEST="()"))
    weights = ["MODEL.WEIGHTS", tmp_path / "model_final.pth", "MODEL.VISTR.NUM_CLASSES", 7]
    done = train_net(data, "--eval-only", *options(tmp_path / "eval"), *weights)
    assert done.returncode == 1
    assert re.search(r"error: .*class_embed.weight \(4, 24\) instead of \(8, 24\)", done.stderr)


def test_bfloat16_training(data, tmp_path):
    amp = {"SOLVER__AMP__ENABLED": True, "SOLVER__AMP__DTYPE": "bfloat16", "DATASETS__TEST": "()"}
    done = train_net(data, *options(tmp_path, **amp))
    assert done.returncode == 0, done.stderr[-2000:]
    assert metrics(tmp_path)[-1]["total_loss"] < 100


def workers_of(launcher: int) -> list[int]:
    """Processes that torchrun has started."""
    paths = Path(f"/proc/{launcher}/task").glob("*/children")
    return [int(child) for path in paths for child in path.read_text().split()]


@pytest.mark.parametrize(
    "torchrun",
    [
        "tests.helpers.forked_torchrun",
        pytest.param("torch.distributed.run", marks=pytest.mark.long),
    ],
)
def test_torchrun_restarts_a_training(data, tmp_path, torchrun):
    """A process is killed after the first checkpoint: all go on from there, to the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chosen = options(tmp_path, SOLVER__MAX_ITER=12, SOLVER__CHECKPOINT_PERIOD=3, DATASETS__TEST=())
    command = ["-m", torchrun, "--nproc-per-node", 2, "--max-restarts", 1, "--master-port", port]
    command += ["tools/train_net.py", "--resume", "--config-file", CONFIG, *chosen]
    told = tmp_path / "told.txt"
    training = FreshProcess(*command, output=told, environment={"DETECTRON2_DATASETS": str(data)})
    try:
        end = time.monotonic() + 300
        while not (tmp_path / "last_checkpoint").exists():
            assert training.poll() is None, told.read_text()[-2000:]
            assert time.monotonic() < end
            time.sleep(0.02)
        os.kill(workers_of(training.pid)[1], signal.SIGKILL)
        assert training.wait(300) == 0, told.read_text()[-2000:]
    finally:
        training.kill()
    starts = re.findall(r"Starting training from iteration (\d+)", told.read_text())
    first, *_, last = map(int, starts)
    assert first == 0
    assert last in (3, 6, 9)
    assert (tmp_path / "model_final.pth").is_file()
    assert metrics(tmp_path)[-1]["iteration"] == 11

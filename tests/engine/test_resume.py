"""A training that was stopped, or killed, and resumed is, bit for bit, the one that never stopped."""

import errno
import random

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.engine import DefaultTrainer, HookBase
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils.env import seed_all_rng
from torch import nn

from d2video.config import get_cfg
from d2video.data import DATASET_MAPPER_REGISTRY
from d2video.engine import VideoTrainer
from d2video.engine.determinism import set_determinism
from d2video.utils.errors import UserError
from tests.helpers.fresh_process import run_fresh
from tests.helpers.systems import SYSTEMS
from tests.helpers.training_run import KILLED_AT, SAVED, SIGNALLED_AT, STEPS


@META_ARCH_REGISTRY.register()
class DrawingModel(nn.Module):
    """Its losses depend on every global generator."""

    def __init__(self, cfg):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, batch):
        x = torch.stack([sample["image"] for sample in batch])
        drawn = torch.randn_like(x) + np.random.randn() + random.gauss(0, 1)
        hidden = nn.functional.dropout(self.norm(self.layer(x + 0.1 * drawn)), 0.5)
        return {"loss_square": (hidden - 1).square().mean()}


@DATASET_MAPPER_REGISTRY.register()
class DrawingMapper:
    needs_labels = False

    def __init__(self, cfg, is_train):
        pass

    def __call__(self, record):
        drawn = (np.random.rand(), random.random(), float(torch.rand(())))
        return {"image": torch.tensor(drawn) + record["image_id"]}


class Losses(HookBase):
    def __init__(self):
        self.seen = []

    def after_step(self):
        self.seen.append(self.trainer.storage.history("total_loss").latest())


@pytest.fixture(autouse=True)
def records(scratch_catalog):
    images = [{"file_name": "", "image_id": k, "height": 4, "width": 4} for k in range(7)]
    DatasetCatalog.register("numbers", lambda: images)


def train(
    output, *changes, start=1, stop=10, resume=False, workers=0, seed=-1, eval_period=0, hooks=()
):
    """The losses of a training up to step ``stop`` of 10, and its last checkpoint."""
    cfg = get_cfg()
    cfg.merge_from_list(
        [
            *("MODEL.META_ARCHITECTURE", "DrawingModel", "MODEL.DEVICE", "cpu", "SEED", seed),
            *("INPUT.DATASET_MAPPER", "DrawingMapper", "DATASETS.TRAIN", ["numbers"]),
            *("DATALOADER.NUM_WORKERS", workers, "DATALOADER.ASPECT_RATIO_GROUPING", False),
            *("SOLVER.IMS_PER_BATCH", 3, "SOLVER.MAX_ITER", 10, "SOLVER.STEPS", (4, 8)),
            *("SOLVER.OPTIMIZER", "ADAMW"),
            *("SOLVER.BASE_LR", 0.01, "SOLVER.WARMUP_ITERS", 6, "SOLVER.CHECKPOINT_PERIOD", 5),
            *("TEST.EVAL_PERIOD", eval_period, "OUTPUT_DIR", str(output)),
            *changes,
        ]
    )
    output.mkdir(exist_ok=True)
    seed_all_rng(start)
    trainer = VideoTrainer(cfg)
    trainer.max_iter = stop
    losses = Losses()
    trainer.register_hooks([losses, *hooks])
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return losses.seen, torch.load(output / "model_final.pth", weights_only=True)


def assert_same(one, other, where=""):
    """Nested values, bit for bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for k, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}[{k}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


@pytest.mark.parametrize(
    ("workers", "seed", "changes"),
    [(0, -1, ()), (0, 3, ()), (2, -1, ()), (2, 3, ()), (0, -1, ("SOLVER.EMA.ENABLED", True))],
)
def test_five_and_five_are_ten(tmp_path, workers, seed, changes):
    options = {"workers": workers, "seed": seed}
    losses, whole = train(tmp_path / "whole", *changes, seed=seed)
    first, _ = train(tmp_path / "parts", *changes, stop=5, **options)
    rest, parts = train(tmp_path / "parts", *changes, start=50, resume=True, **options)
    assert first + rest == losses
    assert len(set(losses)) == 10
    assert_same(whole, parts)


def test_an_evaluation_changes_nothing(tmp_path, monkeypatch):
    def test(cls, cfg, model, evaluators=None):
        return {"drawn": {"number": torch.rand(3).sum().item() + np.random.rand()}}

    monkeypatch.setattr(DefaultTrainer, "test", classmethod(test))
    losses, whole = train(tmp_path / "never")
    others, evaluated = train(tmp_path / "often", eval_period=2)
    assert others == losses
    assert_same(whole["model"], evaluated["model"])


def test_a_checkpoint_of_an_older_version(tmp_path, caplog):
    """Without random states the training goes on all the same, behind the data it has seen."""
    _, old = train(tmp_path / "old", stop=5)
    del old["trainer"]["random"]
    torch.save(old, tmp_path / "old/model_final.pth")
    for checksum in (tmp_path / "old").glob("model_final.pth.*"):
        checksum.unlink()
    losses, new = train(tmp_path / "old", resume=True)
    assert len(losses) == 5
    assert "older version" in caplog.text
    assert new["trainer"]["random"][0]["loader"]["batches"] == 10


def test_a_changed_config_is_told(tmp_path, caplog):
    train(tmp_path, stop=5)
    assert "with a changed config" not in caplog.text
    changed = ["SOLVER.BASE_LR", 0.5, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 3.0]
    train(tmp_path, *changed, resume=True)
    (told,) = [r.getMessage() for r in caplog.records if "with a changed config" in r.getMessage()]
    assert (
        "SOLVER.BASE_LR was 0.01, is 0.5, SOLVER.CLIP_GRADIENTS.CLIP_VALUE was 1.0, is 3.0" in told
    )


def test_a_new_training_in_the_folder_of_another_is_told(tmp_path, caplog):
    train(tmp_path, stop=5)
    assert "earlier training" not in caplog.text
    train(tmp_path, stop=5)
    assert "holds checkpoints of an earlier training" in caplog.text


def test_resuming_without_a_checkpoint_and_after_the_end_are_told(tmp_path, caplog):
    losses, _ = train(tmp_path, resume=True)
    assert len(losses) == 10
    assert "holds no checkpoint, so training starts at the beginning" in caplog.text
    assert "has finished" not in caplog.text
    caplog.clear()
    losses, _ = train(tmp_path, resume=True)
    assert losses == []
    assert f"the training in OUTPUT_DIR {tmp_path} has finished, after 10 iterations" in caplog.text
    assert "holds no checkpoint" not in caplog.text


def test_resuming_another_model_says_how_to_start_from_it(tmp_path, monkeypatch):
    train(tmp_path, stop=5)
    layers = DrawingModel.__init__
    monkeypatch.setattr(
        DrawingModel,
        "__init__",
        lambda self, cfg: (layers(self, cfg), setattr(self, "layer", nn.Linear(3, 4)))[0],
    )
    message = "another shape.*start another training from it, without --resume: MODEL.WEIGHTS"
    with pytest.raises(UserError, match=message):
        train(tmp_path, resume=True)


def test_another_optimizer_is_refused(tmp_path):
    """torch would take the state, and fail in the first step."""
    train(tmp_path, stop=5)
    with pytest.raises(UserError, match=r"its 'trainer' is not of this run.*SOLVER\.OPTIMIZER"):
        train(tmp_path, "SOLVER.OPTIMIZER", "SGD", resume=True)


def _set(key, value):
    def change(state):
        *path, last = key.split(".")
        for part in path:
            state = state[int(part) if part.isdecimal() else part]
        state[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("iteration", "abc"),
        _set("iteration", -2),
        _set("iteration", 1.0),
        _set("random.0.loader.next", 10**15),
        _set("random.0.loader.next", -5),
        _set("random.0.loader.next", "5"),
        _set("random.0.loader.batches", 10**12),
        _set("random.0.loader.pending", [3, 2]),
        _set("random.0.loader.pending", 4),
        _set("random.0.loader.seed", -4),
        _set("random.0.loader", None),
        _set("random.0.python", {}),
        _set("random.0.numpy", 3),
        _set("random.0.torch", torch.zeros(3, dtype=torch.uint8)),
        _set("random", []),
        _set("random", {}),
        _set("settings", 3),
        _set("_trainer", {}),
        _set("hooks", 3),
        _set("hooks.AverageHook.steps", -1),
        _set("hooks.AverageHook.model", {}),
    ],
)
def test_a_strangers_state_is_refused(tmp_path, change):
    """Without a traceback in the first step, or counting for days to a place in the data."""
    average = ("SOLVER.EMA.ENABLED", True)
    _, state = train(tmp_path, *average, stop=5)
    change(state["trainer"])
    for path in tmp_path.glob("model_*"):
        path.unlink()
    torch.save(state, tmp_path / "model_final.pth")
    with pytest.raises(UserError, match="its 'trainer' is not of this run"):
        train(tmp_path, *average, resume=True)


class FullDisk(HookBase):
    def after_step(self):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_the_training_in_one_line(tmp_path, caplog):
    """Where metrics meet it; see tests/checkpoint for checkpoints."""
    with pytest.raises(UserError, match="cannot write in OUTPUT_DIR .*No space left"):
        train(tmp_path, hooks=[FullDisk()])
    assert not [record for record in caplog.records if record.exc_info]


def test_deterministic_trainings_are_the_same(tmp_path):
    deterministic = ["DETERMINISTIC", True]
    before = torch.are_deterministic_algorithms_enabled()
    try:
        cfg = get_cfg()
        cfg.merge_from_list([*deterministic, "SEED", 3])
        set_determinism(cfg)
        runs = [train(tmp_path / str(k), *deterministic, start=7, seed=3) for k in range(2)]
    finally:
        torch.use_deterministic_algorithms(before)
    assert runs[0][0] == runs[1][0]
    assert_same(*(state for _, state in runs))


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system(tmp_path, system, ranks):
    """At its end, by a signal, and killed, with worker processes, in one process and in two."""
    words = ("-m", "tests.helpers.training_run", system, ranks, tmp_path)
    done = run_fresh(*words, environment={"DETECTRON2_DATASETS": str(tmp_path / "data")})
    assert done.returncode == 0, done.stderr[-3000:]

    def steps(run):
        return (tmp_path / run / "losses.txt").read_text().splitlines()

    whole = steps("whole")
    assert len(whole) == STEPS
    assert len({line.partition(" ")[2] for line in whole}) == STEPS
    assert steps("parts") == whole
    # The step that was in hand was made, but the hooks after the one that stops did not see it.
    in_hand = f"{SIGNALLED_AT + 1} "
    assert steps("signalled") == [line for line in whole if not line.startswith(in_hand)]
    assert steps("killed") == whole[:KILLED_AT] + whole[SAVED:]
    states = [
        torch.load(tmp_path / run / "model_final.pth", weights_only=True)
        for run in ("whole", "parts", "signalled", "killed")
    ]
    for state in states:
        # Its counts are taken every 20 steps alone.
        state["trainer"].get("hooks", {}).pop("BadSampleHook", None)
        assert all(value.isfinite().all() for value in state["model"].values())
    assert len(states[0]["trainer"]["random"]) == ranks
    for state in states[1:]:
        assert_same(states[0], state)

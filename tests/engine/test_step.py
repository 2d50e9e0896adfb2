"""StepTrainer: precisions, and steps whose numbers are not finite."""

import json
import math
import re

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from torch import nn

from d2video.config import get_cfg
from d2video.engine.solver import build_optimizer
from d2video.engine.step import LOWEST_SCALE, NonFiniteError, StepTrainer, build_step_trainer
from d2video.utils.errors import UserError


class Model(nn.Module):
    """The loss of a batch is the sum of its numbers, times a weight; see ``forward`` for the rest."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, batch):
        if any(record.get("raises") for record in batch):
            raise FloatingPointError("cost is nan")
        value = torch.stack([record["value"] for record in batch]).sum()
        loss = (self.weight * value).sum()
        if any("gradient" in record for record in batch):
            scale = batch[0]["gradient"]
            loss.register_hook(lambda gradient: gradient * scale)
        return {"loss": loss, "other": self.weight.sum()}


def record(value: float = 1.0, **more) -> dict:
    number = torch.tensor(value)
    return {"value": number, "file_name": "a.png", "frame_indices": torch.tensor([3, 4]), **more}


def trainer(batches, tmp_path, period: int = 20, **options) -> StepTrainer:
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    made = StepTrainer(model, batches, optimizer, output_dir=str(tmp_path), **options)
    made.gather_metric_period = period
    return made


def run(made: StepTrainer, steps: int) -> EventStorage:
    with EventStorage() as made.storage:
        for made.iter in range(steps):
            made.storage.iter = made.iter
            made.run_step()
    return made.storage


GOOD = [record()]
FAULTS = [
    ([record(math.nan)], "loss is nan", {"loss": "nan"}, None),
    ([record(-math.inf)], "loss is -inf", {"loss": "-inf"}, None),
    ([record(gradient=math.nan)], "the gradient norm is nan", {"loss": 2.0}, "nan"),
    ([record(raises=True)], "cost is nan", {}, None),
]


@pytest.mark.parametrize(("bad", "reason", "losses", "norm"), FAULTS)
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_stops_before_the_update(tmp_path, bad, reason, losses, norm, precision):
    made = trainer([bad], tmp_path, precision=precision)
    with pytest.raises(NonFiniteError, match=rf"iteration 0: {reason} \(rank 0\), see .*0000000"):
        run(made, 1)
    assert torch.equal(made.model.weight, torch.ones(2))
    report = json.loads((tmp_path / "non_finite_0000000.json").read_text())
    (rank,) = report["ranks"]
    assert report["iteration"] == rank["rank"] == 0
    assert rank["losses"].items() >= losses.items()
    assert (rank["gradient_norm"], rank["fault"]) == (norm, reason)
    assert rank["batch"] == [{"file_name": "a.png", "frame_indices": [3, 4]}]


def test_leaves_out_as_many_steps_as_allowed(tmp_path):
    batches = [
        GOOD,
        [record(math.nan)],
        GOOD,
        [record(gradient=math.inf)],
        GOOD,
        [record(math.inf)],
    ]
    made = trainer(batches, tmp_path, max_skipped=2)
    with pytest.raises(NonFiniteError, match="iteration 5: .*after 2 such steps"):
        run(made, 6)
    # As if the steps had not been, for the metrics, too.
    alone = trainer([GOOD] * 3, tmp_path)
    run(alone, 3)
    assert torch.equal(made.model.weight, alone.model.weight)
    assert made.storage.history("non_finite_steps").values() == [(1, 1), (2, 3)]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"non_finite_000000{k}.json" for k in (1, 3, 5)]


def test_counts_over_resumed_runs(tmp_path):
    first = trainer([[record(math.nan)]], tmp_path, max_skipped=1)
    run(first, 1)
    second = trainer([[record(math.nan)]], tmp_path, max_skipped=1)
    second.load_state_dict(first.state_dict())
    with pytest.raises(NonFiniteError):
        run(second, 1)


def test_the_frames_before_are_named_too(tmp_path):
    made = trainer([[record(math.nan, previous=[{"file_name": "b.png", "image": 1}])]], tmp_path)
    with pytest.raises(NonFiniteError):
        run(made, 1)
    (rank,) = json.loads((tmp_path / "non_finite_0000000.json").read_text())["ranks"]
    assert rank["batch"][0]["previous"] == [{"file_name": "b.png"}]


def float16(batches, tmp_path, scale: float) -> StepTrainer:
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return trainer(batches, tmp_path, precision=torch.float16, scaler=scaler)


def test_the_scaler_may_leave_steps_out(tmp_path):
    """A gradient beyond float32 at this scale, not at half of it."""
    grows = [record(gradient=1e35)]
    made = float16([grows, GOOD], tmp_path, 2.0**15)
    run(made, 1)
    assert torch.equal(made.model.weight, torch.ones(2))
    assert made.grad_scaler.get_scale() == 2.0**14
    run(made, 1)
    assert not torch.equal(made.model.weight, torch.ones(2))
    assert made.skipped == 0
    assert not list(tmp_path.iterdir())


def test_a_scale_that_cannot_help(tmp_path):
    made = float16([[record(gradient=math.nan)]] * 30, tmp_path, LOWEST_SCALE * 4)
    with pytest.raises(NonFiniteError, match="iteration 3: the gradient norm is nan"):
        run(made, 30)
    assert torch.equal(made.model.weight, torch.ones(2))


def test_float16_losses_count(tmp_path):
    with pytest.raises(NonFiniteError, match="loss is nan"):
        run(float16([[record(math.nan)]], tmp_path, 4.0), 1)


def test_the_scale_is_kept_and_other_precisions_can_go_on(tmp_path, caplog):
    scaled = float16([GOOD], tmp_path, 64.0)
    run(scaled, 1)
    state = scaled.state_dict()
    again = float16([GOOD], tmp_path, 2.0)
    again.load_state_dict(state)
    assert again.grad_scaler.get_scale() == 64.0
    plain = trainer([GOOD], tmp_path)
    plain.load_state_dict(state)
    again.load_state_dict(plain.state_dict())
    assert "the loss scale starts at its initial value" in caplog.text


def test_bfloat16_is_for_the_forward_pass_alone():
    seen = []

    class Loss(nn.Linear):
        def forward(self, data):
            out = super().forward(data).float()
            out.register_hook(lambda _: seen.append(torch.is_autocast_enabled("cpu")))
            seen.append(torch.is_autocast_enabled("cpu"))
            return {"loss": out.square().sum()}

    model = Loss(2, 1)
    start = model.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    run(StepTrainer(model, [torch.ones(4, 2)], optimizer, precision=torch.bfloat16), 1)
    assert seen == [True, False]
    assert not torch.equal(model.weight, start)


def moved_by_a_step(tmp_path, *overrides, scale: float = 0.0) -> torch.Tensor:
    """Of a model whose gradient is (2, 2, 2): SGD at a rate of 1."""
    sgd = ["SOLVER.OPTIMIZER", "SGD", "SOLVER.BASE_LR", 1.0, "SOLVER.MOMENTUM", 0.0]
    cfg = cfg_of(*sgd, "SOLVER.WEIGHT_DECAY", 0.0, "OUTPUT_DIR", str(tmp_path), *overrides)
    model = nn.Linear(2, 1)
    model.forward = lambda batch: {"loss": 2 * (model.weight.sum() + model.bias.sum())}
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    made = build_step_trainer(cfg, model, [GOOD], build_optimizer(cfg, model))
    if scale:  # by hand, since the config's float16 wants a GPU
        made.grad_scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    run(made, 1)
    return before - torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("scale", [0.0, 2.0**16])
@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"CLIP_TYPE": "full_model"}, 0.1 / math.sqrt(3)),
        ({"CLIP_TYPE": "full_model", "NORM_TYPE": math.inf}, 0.1),
        ({"CLIP_TYPE": "full_model", "CLIP_VALUE": 10.0}, 2.0),
        ({"CLIP_TYPE": "value"}, 0.1),
        ({"ENABLED": False}, 2.0),
    ],
)
def test_clipping_bounds_the_true_gradients(tmp_path, overrides, expected, scale):
    """All together; a fused optimizer that unscaled them by itself would come too late."""
    clip = {"ENABLED": True, "CLIP_VALUE": 0.1, "NORM_TYPE": 2.0, **overrides}
    given = [word for key in clip for word in (f"SOLVER.CLIP_GRADIENTS.{key}", clip[key])]
    moved = moved_by_a_step(tmp_path, *given, scale=scale)
    # float32 weights of about 0.5 move by 0.05 and more; the norm is clipped to 1e-6 relative.
    assert moved.tolist() == pytest.approx([expected] * 3, rel=1e-5)


def cfg_of(*overrides) -> CfgNode:
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", *overrides])
    return cfg


def test_built_by_the_config():
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    plain = build_step_trainer(cfg_of("SOLVER.SKIP_NON_FINITE", 3), model, [], optimizer)
    assert (plain.precision, plain._max_skipped) == (None, 3)
    amp = ["SOLVER.AMP.ENABLED", True, "SOLVER.AMP.DTYPE"]
    made = build_step_trainer(cfg_of(*amp, "bfloat16"), model, [], optimizer)
    assert made.precision == torch.bfloat16
    assert not made.grad_scaler.is_enabled()
    for overrides, message in (
        ([*amp, "float8"], "'float8' is unknown"),
        ([*amp, "float16"], "needs a GPU"),
        (["SOLVER.SKIP_NON_FINITE", -1], "SKIP_NON_FINITE is -1"),
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            build_step_trainer(cfg_of(*overrides), model, [], optimizer)

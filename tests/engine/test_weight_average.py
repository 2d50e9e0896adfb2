"""The moving average of the weights: how it is computed, and that answers and checkpoints have it."""

import pytest
import torch
from detectron2.engine import DefaultTrainer, HookBase

from d2video.utils.errors import UserError
from tests.engine.test_resume import records, train

__all__ = ["records"]  # a fixture

EMA = ("SOLVER.EMA.ENABLED", True)
DECAY = ("SOLVER.EMA.DECAY", 0.3)


class Trained(HookBase):
    """Keeps the weights that are trained, as they are before and after every step."""

    def __init__(self):
        self.before, self.seen = None, []

    def before_step(self):
        self.before = self.before or self._weights()

    def after_step(self):
        self.seen.append(self._weights())

    def _weights(self):
        model = self.trainer.model
        return {name: value.detach().clone() for name, value in model.state_dict().items()}


def test_the_average_is_that_of_the_formula(tmp_path):
    hook = Trained()
    _, final = train(tmp_path, *EMA, *DECAY, hooks=[hook])
    expected = hook.seen[0]
    for steps, weights in enumerate(hook.seen[1:], 1):
        decay = min(0.3, (1 + steps) / (10 + steps))
        expected = {k: decay * expected[k] + (1 - decay) * weights[k] for k in weights}
    counts = expected.pop("norm.num_batches_tracked")
    assert counts != 10  # averaged, it would be no count
    assert final["model"].pop("norm.num_batches_tracked") == 10
    assert not torch.equal(expected["norm.running_var"], hook.seen[-1]["norm.running_var"])
    for name, value in expected.items():
        torch.testing.assert_close(final["model"][name], value, rtol=1e-5, atol=1e-7)


def test_training_is_the_same_with_it(tmp_path):
    losses, final = train(tmp_path / "without", seed=3)
    others, averaged = train(tmp_path / "with", *EMA, seed=3)
    assert losses == others
    trained = averaged["trainer"]["hooks"]["AverageHook"]["model"]
    assert all(torch.equal(trained[name], value) for name, value in final["model"].items())
    assert not torch.equal(averaged["model"]["layer.weight"], trained["layer.weight"])


def test_evaluations_and_the_best_model_have_the_average(tmp_path, monkeypatch):
    evaluated = []

    def test(cls, cfg, model, evaluators=None):
        evaluated.append(model.layer.weight.detach().clone())
        return {"segm": {"AP": len(evaluated)}}

    monkeypatch.setattr(DefaultTrainer, "test", classmethod(test))
    _, final = train(tmp_path, *EMA, eval_period=5)
    assert torch.equal(evaluated[-1], final["model"]["layer.weight"])
    middle = torch.load(tmp_path / "model_0000004.pth", weights_only=True)
    assert torch.equal(evaluated[0], middle["model"]["layer.weight"])
    best = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert torch.equal(evaluated[-1], best["model"]["layer.weight"])
    assert "trainer" not in best


def test_a_training_starts_from_the_weights_of_a_file(tmp_path):
    """Also from those of a checkpoint that has both: from the average, which is its model."""
    _, first = train(tmp_path / "first", *EMA)
    hook = Trained()
    train(
        *(tmp_path / "second", *EMA, "MODEL.WEIGHTS", str(tmp_path / "first/model_final.pth")),
        stop=1,
        hooks=[hook],
    )
    assert all(torch.equal(hook.before[name], value) for name, value in first["model"].items())


def test_it_can_be_enabled_where_a_training_goes_on(tmp_path, caplog):
    _, first = train(tmp_path, stop=5)
    hook = Trained()
    _, final = train(tmp_path, *EMA, resume=True, hooks=[hook])
    assert torch.equal(hook.before["layer.weight"], first["model"]["layer.weight"])
    assert final["trainer"]["hooks"]["AverageHook"]["steps"] == 5
    assert "SOLVER.EMA.ENABLED was False, is True" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("SOLVER.EMA.DECAY", 1.0), r"SOLVER\.EMA\.DECAY is 1\.0: set a number between 0 and 1"),
        (("TEST.PRECISE_BN.ENABLED", True), "SOLVER.EMA and TEST.PRECISE_BN are both enabled"),
    ],
)
def test_what_it_refuses(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        train(tmp_path, *EMA, *options)

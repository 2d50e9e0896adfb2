"""What the evaluations of a training lead to: metrics in checkpoints, the best model, an early end."""

import math

import pytest
import torch
from detectron2.engine import DefaultTrainer, HookBase

from d2video.synthetic import write_restoration_images
from d2video.utils.errors import UserError
from tests.engine.test_resume import assert_same, records, train
from tests.helpers.two_processes import train as train_in_two

__all__ = ["records"]  # a fixture

# After 2, 4, 6, 8 and 10 steps.
SCORES = [10.0, 30.0, 20.0, 25.0, 30.0]


@pytest.fixture
def scores(monkeypatch):
    """Scores of an evaluation, by how many steps the model has made; and the steps of all that ran."""
    given, evaluated = {2 * k: score for k, score in enumerate(SCORES, 1)}, []

    def test(cls, cfg, model, evaluators=None):
        step = steps_of(model)
        evaluated.append(step)
        return {"segm": {"AP": given[step], "AP50": 50.0}}

    monkeypatch.setattr(DefaultTrainer, "test", classmethod(test))
    monkeypatch.setattr("d2video.engine.trainer.match_test_sets", lambda cfg, model: [])
    monkeypatch.setattr("d2video.engine.trainer.VideoTrainer.build_evaluators", lambda *_: [])
    return given, evaluated


def steps_of(model) -> int:
    """Of DrawingModel, whose batch norm counts its batches."""
    return int(model.norm.num_batches_tracked)


def load(path):
    return torch.load(path, weights_only=True)


EVERY_TWO = {"eval_period": 2}


def test_checkpoints_hold_metrics_and_the_best_model_is_kept(tmp_path, scores):
    _, final = train(tmp_path, **EVERY_TWO)
    metrics = final["metrics"]
    assert metrics["last"] == {"iteration": 9, "results": {"segm/AP": 30.0, "segm/AP50": 50.0}}
    assert metrics["best"]["metric"] == "segm/AP"
    assert metrics["best"]["iteration"] == 3  # the first of two equal ones
    assert final["trainer"]["iteration"] == 9
    best = load(tmp_path / "model_best.pth")
    assert best["iteration"] == 3
    assert best["metrics"]["last"] == {
        k: best["metrics"]["best"][k] for k in ("iteration", "results")
    }
    assert best["model"]["norm.num_batches_tracked"] == 4
    assert "trainer" not in best
    assert best["config"] == final["config"]
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    # Saved in a step without evaluation: the results of the one before.
    assert load(tmp_path / "model_0000004.pth")["metrics"]["last"]["iteration"] == 3


def test_without_evaluations_in_between_there_is_nothing_to_compare(tmp_path, scores):
    _, final = train(tmp_path, eval_period=0)
    assert final["metrics"]["last"]["results"]["segm/AP"] == 30.0
    assert not (tmp_path / "model_best.pth").exists()


@pytest.mark.parametrize(
    ("options", "kept"), [(("TEST.BEST_MODE", "min"), 2), (("TEST.BEST_METRIC", ""), None)]
)
def test_another_choice_of_the_best(tmp_path, scores, options, kept):
    train(tmp_path, *options, **EVERY_TWO)
    best = tmp_path / "model_best.pth"
    assert (steps_in(best) if best.exists() else None) == kept


def steps_in(path) -> int:
    return int(load(path)["model"]["norm.num_batches_tracked"])


def test_what_is_not_a_number_is_not_the_best(tmp_path, scores, caplog):
    scores[0][2] = scores[0][4] = math.nan
    train(tmp_path, **EVERY_TWO)
    assert steps_in(tmp_path / "model_best.pth") == 10
    assert "segm/AP is nan after iteration 1: not the best" in caplog.text


EARLY = ("TEST.EARLY_STOPPING", 2, "DATASETS.TEST", ["numbers"])


@pytest.fixture
def any_set(monkeypatch):
    """ "numbers" has no evaluator, which a training asks for at its start."""
    for name in ("build_evaluator", "build_test_loader"):
        monkeypatch.setattr(f"d2video.engine.VideoTrainer.{name}", lambda *args: None)


def test_a_training_that_does_not_get_better_ends(tmp_path, scores, any_set, caplog):
    losses, final = train(tmp_path, *EARLY, **EVERY_TWO)
    assert len(losses) == 8
    assert "stops after iteration 7: no better segm/AP in 2 evaluations" in caplog.text
    assert "than after iteration 3, see model_best.pth" in caplog.text
    assert "Exception" not in caplog.text
    assert final["trainer"]["iteration"] == 7
    assert final["metrics"]["last"]["iteration"] == 7
    # It stays at its end, until told otherwise.
    losses, again = train(tmp_path, *EARLY, resume=True, **EVERY_TWO)
    assert losses == []
    assert_same(final, again)
    losses, _ = train(tmp_path, "TEST.EARLY_STOPPING", 0, resume=True, **EVERY_TWO)
    assert len(losses) == 2


class Killed(Exception):
    pass


class Kill(HookBase):
    def __init__(self, at):
        self.at = at

    def after_step(self):
        if self.trainer.iter + 1 == self.at:
            raise Killed


@pytest.mark.parametrize("at", [5, 6, 7])
def test_a_killed_run_decides_as_one_that_went_on(tmp_path, scores, any_set, at):
    """Saved every second step, as it is evaluated: before, in and after an evaluation."""
    often = (*EARLY, "SOLVER.CHECKPOINT_PERIOD", 2)
    losses, whole = train(tmp_path / "whole", *often, **EVERY_TWO)
    with pytest.raises(Killed):
        train(tmp_path / "killed", *often, hooks=[Kill(at)], **EVERY_TWO)
    rest, final = train(tmp_path / "killed", *often, resume=True, **EVERY_TWO)
    assert losses[at // 2 * 2 :] == rest
    assert_same(whole, final)
    assert_same(*(load(tmp_path / run / "model_best.pth") for run in ("whole", "killed")))


def test_an_evaluation_that_was_cut_off_is_made_up_for(tmp_path, scores, any_set, monkeypatch):
    given, evaluated = scores
    often = (*EARLY, "SOLVER.CHECKPOINT_PERIOD", 2)
    _, whole = train(tmp_path / "whole", *often, **EVERY_TWO)
    cut, given[6] = given.pop(6), None
    with pytest.raises(TypeError):
        train(tmp_path / "killed", *often, **EVERY_TWO)
    given[6] = cut
    evaluated.clear()
    losses, final = train(tmp_path / "killed", *often, resume=True, **EVERY_TWO)
    assert evaluated == [6, 8]
    assert len(losses) == 2
    assert_same(whole, final)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("TEST.BEST_METRIC", "segm/PA"),
            "segm/PA, which the evaluation does not have: set one of segm/AP, segm/AP50",
        ),
        (("TEST.BEST_MODE", "highest"), "BEST_MODE is 'highest': set max"),
        (("TEST.EARLY_STOPPING", 2), "DATASETS.TEST is empty"),
        ((*EARLY, "TEST.EVAL_PERIOD", 0), "TEST.EVAL_PERIOD is 0"),
        ((*EARLY, "TEST.BEST_METRIC", ""), "TEST.BEST_METRIC is empty"),
    ],
)
def test_mistakes(tmp_path, scores, any_set, options, message):
    with pytest.raises(UserError, match=message):
        train(
            tmp_path, *(("TEST.EVAL_PERIOD", 2) if "EVAL_PERIOD" not in message else ()), *options
        )


@pytest.mark.parametrize(
    "change", [("without_better", -1), ("last", {"iteration": 1}), ("best", 3)]
)
def test_a_strangers_state_is_refused(tmp_path, scores, change):
    _, state = train(tmp_path, stop=4, **EVERY_TWO)
    state["trainer"]["hooks"]["EvaluationHook"].update([change])
    torch.save(state, tmp_path / "model_final.pth")
    with pytest.raises(UserError, match="its 'trainer' is not of this run"):
        train(tmp_path, resume=True, **EVERY_TWO)


@pytest.mark.slow
def test_two_processes_end_after_the_same_step(tmp_path):
    """A model that learns nothing: the second evaluation finds what the first has found."""
    images = {"train": 2, "val": 2}
    write_restoration_images(tmp_path / "shapes_images", images, progress=False)
    options = {"TEST.EVAL_PERIOD": 2, "TEST.EARLY_STOPPING": 1, "SOLVER.BASE_LR": 1e-30}
    options |= {"DATASETS.TEST": '("shapes_images_val_sr_x2",)', "SOLVER.CHECKPOINT_PERIOD": 100}
    done = train_in_two(tmp_path, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out/log.txt").read_text().count("Training stops after iteration 3") == 1
    final = load(tmp_path / "out/model_final.pth")
    assert final["trainer"]["iteration"] == 3
    assert len(final["trainer"]["random"]) == 2
    assert load(tmp_path / "out/model_best.pth")["iteration"] == 1

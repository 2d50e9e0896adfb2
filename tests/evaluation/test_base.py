"""What all evaluators share: repeats, missing answers, several processes, splits without labels."""

import logging

import pytest
import torch

from d2video.evaluation import GatheringEvaluator
from d2video.utils.errors import UserError
from tests.helpers.fresh_process import run_in_group


class Sum(GatheringEvaluator[int, float, dict]):
    """Adds up the answers; the results name the keys in their order."""

    name, noun = "sum", "number"
    answer_key, answer_noun = "value", "values"

    def _key(self, given):
        return given["number"]

    def _keep(self, given, answer):
        return answer["value"]

    def _score(self, kept):
        missing = self._missing(kept)
        if not kept:
            return {}
        return {f"{key}": value for key, value in kept.items()} | {"missing": len(missing)}


class SumOfUnique(Sum):
    unique_id = "number"


def take(evaluator, *pairs):
    evaluator.process([{"number": k} for k, _ in pairs], [{"value": v} for _, v in pairs])
    return evaluator


def test_the_first_answer_counts_unless_numbers_are_unique():
    assert take(Sum("set"), (2, 1.0), (1, 3.0), (2, 5.0)).evaluate()["sum"]["2"] == 1
    with pytest.raises(UserError, match="set: number 2 was answered twice; give each number a"):
        take(SumOfUnique("set"), (2, 1.0), (2, 1.0))


def test_other_models_and_other_data():
    with pytest.raises(UserError, match="set: the model does not answer with values: choose one"):
        Sum("set").process([{"number": 1}], [{"scores": 1}])
    with pytest.raises(UserError, match="number 3 is not in set: evaluate on the dataset that"):
        take(Sum("set", known=[1, 2]), (3, 1.0))


def test_missing_answers_and_splits_without_labels(caplog):
    results = take(Sum("set", known=[1, 2, 3]), (2, 1.0)).evaluate()
    assert results == {"sum": {"2": 1, "missing": 2}}
    assert "2 of 3 numbers have no answer (the first is number 1)" in caplog.text
    with caplog.at_level(logging.INFO):
        assert Sum("set").evaluate() == {}
    assert "set has no labels: nothing is scored" in caplog.text
    evaluator = take(Sum("set"), (1, 1.0))
    evaluator.reset()
    assert evaluator.evaluate() == {}


def _in_two_processes(folder: str) -> None:
    rank = torch.distributed.get_rank()
    mine = [(0, 0.0), (2 - rank, float(rank))]  # both have 0, as with a sampler that pads
    results = take(Sum("set"), *mine).evaluate()
    unique = take(SumOfUnique("set"), *mine)
    if rank:
        assert results == unique.evaluate() == {}
        return
    # Whatever process had which, in the order of the keys.
    assert list(results["sum"].items()) == [("0", 0), ("1", 1), ("2", 0), ("missing", 0)]
    with pytest.raises(UserError, match="set: number 0 was answered twice"):
        unique.evaluate()
    with open(f"{folder}/passed", "w") as file:
        file.write("main process")


@pytest.mark.slow
def test_two_processes(tmp_path):
    run_in_group(_in_two_processes, str(tmp_path))
    assert (tmp_path / "passed").is_file()

"""Evaluators give the same for any order of the inputs and any split among processes."""

import json
import math
import pickle
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2video.evaluation.mot.evaluator import MOTEvaluator
from d2video.evaluation.panoptic.evaluator import PanopticEvaluator
from d2video.evaluation.vis.evaluator import YTVISEvaluator
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from tests.evaluation.classification.test_evaluator import INPUTS, OUTPUTS
from tests.evaluation.classification.test_evaluator import make as make_classification
from tests.evaluation.panoptic import test_evaluator as panoptic
from tests.evaluation.restoration import test_evaluator as pictures
from tests.helpers.mot_sets import golden_answers, golden_truth, write_golden
from tests.helpers.ytvis_sets import GOLDEN, answers_of, load_json
from tests.properties import few


class Gathered(BaseException):
    """Carries what a process hands over."""


def run(make, inputs, outputs, parts):
    """The main process's results, where each part was seen by a process of its own.

    What the others hand over is pickled, as between real processes.
    """
    handed_over = []
    for number, places in reversed([*enumerate(parts)]):
        evaluator = make()
        evaluator.reset()
        evaluator.process([inputs[i] for i in places], [outputs[i] for i in places])
        if number:
            gather = mock.patch("detectron2.utils.comm.gather", side_effect=hand_over)
            with gather, pytest.raises(Gathered) as caught:
                evaluator.evaluate()
            handed_over.insert(0, pickle.loads(pickle.dumps(caught.value.args[0])))
    with mock.patch("detectron2.utils.comm.gather", lambda data, dst=0: [data, *handed_over]):
        return evaluator.evaluate()


def hand_over(data, dst=0):
    raise Gathered(data)


def ytvis(folder):
    truth = YTVISGroundTruth.from_json(str(GOLDEN / "ytvis_a_gt.json"))
    ids = {c: k for k, c in enumerate(truth.categories)}
    inputs, outputs = answers_of(truth, load_json("ytvis_a_results.json"))
    return lambda: YTVISEvaluator(truth, ids, str(folder)), inputs, outputs


def mot(folder):
    write_golden(folder)
    truth = golden_truth(folder)
    return lambda: MOTEvaluator(truth, str(folder / "output")), *golden_answers(folder)


def classification(folder):
    return lambda: make_classification(str(folder)), INPUTS, OUTPUTS


def panoptic_set(folder):
    labels = dict.fromkeys((5, 9, 11), (panoptic.IDS, panoptic.SEGMENTS))
    panoptic.register_panoptic("mine", folder, labels)
    nothing = panoptic.answer(torch.zeros_like(panoptic.PREDICTED), [])
    outputs = [panoptic.answer(), nothing, panoptic.answer()]
    make = lambda: PanopticEvaluator.from_dataset("mine")  # noqa: E731
    return make, [{"image_id": i} for i in labels], outputs


def restoration(folder):
    targets = [pictures.picture(14, 16, seed=k) for k in range(3)]
    inputs = [
        pictures.item(f"{k}", "denoise_30", pictures.noisy(each, 30, k), each.byte())
        for k, each in enumerate(targets)
    ]
    outputs = [{"restored": pictures.noisy(each, 15, 7)} for each in targets]
    return lambda: pictures.make(folder, baselines=False), inputs, outputs


CASES = [ytvis, mot, classification, panoptic_set, restoration]


@pytest.fixture(params=CASES, ids=lambda f: f.__name__)
def case(request, tmp_path, scratch_catalog):
    make, inputs, outputs = request.param(tmp_path)
    expected = run(make, inputs, outputs, [range(len(inputs))])
    return make, inputs, outputs, plain(expected), tmp_path, files(tmp_path)


def files(folder):
    """The content of all files; zip files hold the time of writing."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".zip"]
    return {path: path.read_bytes() for path in paths}


def plain(results):
    """Comparable: nan is None."""
    return json.loads(
        json.dumps(results, default=float),
        parse_constant=lambda name: None if name == "NaN" else math.inf,
    )


@few
@given(data=st.data())
def test_order_and_processes_change_nothing(case, data):
    make, inputs, outputs, expected, folder, written = case
    order = data.draw(st.permutations(range(len(inputs))))
    processes = data.draw(st.integers(1, 4))
    owners = data.draw(
        st.lists(st.integers(0, processes - 1), min_size=len(order), max_size=len(order))
    )
    parts = [
        [i for i, owner in zip(order, owners, strict=True) if owner == p] for p in range(processes)
    ]
    assert plain(run(make, inputs, outputs, parts)) == expected
    assert files(folder) == written

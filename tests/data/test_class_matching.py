"""Classes of a model and of a data set, matched by name."""

import pytest

from d2video.data.class_matching import match_classes
from d2video.formats.faults import Fault, LeftOut
from d2video.utils.errors import UserError

MODEL = ["circle", "square", "triangle"]


def matched(data, annotated=(), model=MODEL, **options):
    found = []
    sources = {"model_source": "the model", "data_source": "dataset mine"}
    match = match_classes(model, data, lambda: annotated, **sources, **options, report=found.append)
    return match, found


def test_same_order():
    match, found = matched(MODEL)
    assert match.is_identity
    assert match.to_data == match.to_model == [0, 1, 2]
    assert not found


def test_other_order():
    match, found = matched(["triangle", "circle", "square"], [0, 1, 2])
    assert match.to_data == [1, 2, 0]
    assert match.to_model == [2, 0, 1]
    assert not match.is_identity
    assert match.common == [0, 1, 2]
    assert not found


def test_classes_that_are_only_numbered_are_the_models(caplog):
    """As in PySlowFast's lists, which hold no names."""
    match, found = matched(["0", "1"], [0, 1])
    assert match.to_model == [0, 1]
    assert not found
    assert "classes of dataset mine have only numbers" in caplog.text
    match, found = matched(["0", "1"], [0, 1], model=["1", "0"])  # names of the model
    assert match.to_model == [1, 0]
    assert len(matched(["0", "1", "2", "3"], [3])[1]) == 2  # more than the model has


def test_some_of_the_classes():
    match, found = matched(["triangle", "circle"], [0, 1])
    assert match.to_data == [1, None, 0]
    assert match.to_model == [2, 0]
    assert not found
    match, found = matched(["circle", "square"])  # the model's further classes are no identity
    assert not match.is_identity
    assert match.to_data == [0, 1, None]
    assert not found


def test_class_without_annotations_is_passed_over_and_told():
    match, found = matched(["shapes", *MODEL], [1, 2, 3])
    assert match.to_data == [1, 2, 3]
    assert match.to_model == [None, 0, 1, 2]
    assert match.common == [1, 2, 3]
    (told,) = found
    assert isinstance(told, LeftOut)
    assert str(told) == (
        "dataset mine: 3 of 4 classes are used; left out: 1 that the model lacks, without annotations "
        "(shapes)"
    )


def test_class_with_annotations_is_refused_by_name():
    match, (fault, left_out) = matched(["star", *MODEL, "moon"], [0, 1])
    assert isinstance(fault, Fault)
    assert "annotations of 'star', which the model" in str(fault)
    assert match.common == [1, 2, 3]
    assert left_out.used == 3
    with pytest.raises(UserError, match="annotations of 'star'.* 'circle', 'square', 'triangle': "):
        match_classes(MODEL, ["star"], lambda: [0], model_source="it", data_source="dataset mine")


def test_common_classes_only():
    match, (told,) = matched(["star", "circle", "moon", "any"], [0, 1, 2], common_only=True)
    assert match.common == [1]
    assert str(told) == (
        "dataset mine: 1 of 4 classes are used; left out: 2 that the model lacks (star, moon), 1 that "
        "the model lacks, without annotations (any)"
    )


@pytest.mark.parametrize(("annotated", "only"), [((), False), ((0,), True)])
def test_nothing_in_common_is_refused(annotated, only):
    _, (fault, _) = matched(["star"], annotated, common_only=only)
    assert isinstance(fault, Fault)
    assert "none of the classes" in str(fault)


def test_other_spelling_is_named():
    _, (fault, _) = matched(["Giant Panda", "circle"], [0], model=["giant_panda", "circle"])
    assert "did you mean 'giant_panda' for 'Giant Panda'?" in str(fault)


def test_name_of_two_classes_is_refused():
    for model, data in (
        (MODEL, ["circle", "circle"]),
        (["square", "circle", "circle"], ["circle"]),
    ):
        _, found = matched(data, model=model)
        assert "several classes are called 'circle'" in str(found[0])


def test_annotations_are_read_only_if_needed():
    def read():
        raise AssertionError

    match_classes(MODEL, MODEL[:2], read, model_source="it", data_source="dataset mine")


def test_long_lists_are_cut():
    _, (fault, *_) = matched([str(k) for k in range(100)], range(100))
    assert "'7' and 92 more" in str(fault)

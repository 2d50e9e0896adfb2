"""Losses for any objects: none, single pixels, odd sizes; their order and padding are of no effect."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.property_inputs import frames, instances, pixels, seeds, shapes, sizes
from tests.projects.DETR import tiny as detr
from tests.projects.TrackFormer import tiny as trackformer
from tests.projects.VisTR.test_meta_arch import build as build_vistr
from tests.properties import few

# The matcher sees other float sums; what it matches is the same.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def detr_input(found, size, seed):
    return {"image": pixels(size, seed), "instances": instances(found, size)}


def vistr_input(found, size, seed):
    """The first object is absent from the second frame."""
    both = [instances(found, size), instances(found, size)]
    if found:
        both[1].gt_ids[0], both[1].gt_boxes.tensor[0] = -1, 0
        both[1].gt_masks.tensor[0] = False
    return {"image": frames(size, 2, seed), "instances": both}


def trackformer_input(found, size, seed):
    """The last object is new."""
    previous = {"image": pixels(size, seed + 1), "instances": instances(found[:-1], size)}
    return {**detr_input(found, size, seed), "previous": [previous]}


def build_detr():
    torch.manual_seed(0)
    return build_model(detr.tiny_cfg("MODEL.MASK_ON", True)).train()


# Which track queries are dropped or added is drawn by place: here none.
NODE = trackformer.NODE
KEEP_ALL = (f"{NODE}.FALSE_NEGATIVE_PROB", 0.0, f"{NODE}.FALSE_POSITIVE_PROB", 0.0)
MAKERS = {
    "DETR": (build_detr, detr_input),
    "VisTR": (lambda: build_vistr().train(), vistr_input),
    "TrackFormer": (lambda: trackformer.build("detr_masks", *KEEP_ALL), trackformer_input),
    "deformable": (lambda: trackformer.build("deformable", *KEEP_ALL), trackformer_input),
}


@pytest.fixture(scope="module", params=MAKERS)
def system(request):
    build, make = MAKERS[request.param]
    return build(), make


def losses_of(model, batch):
    torch.manual_seed(0)
    with EventStorage():
        return model(batch)


@few
@given(batch=st.lists(st.tuples(shapes, sizes), min_size=1, max_size=2), seed=seeds)
def test_any_objects_give_finite_losses_and_gradients(system, batch, seed):
    model, make = system
    model.zero_grad()
    losses = losses_of(model, [make(*each, seed + 10 * k) for k, each in enumerate(batch)])
    for name, loss in losses.items():
        assert torch.isfinite(loss).all(), name
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


@few
@given(found=shapes, size=sizes, seed=seeds, order=st.permutations(range(4)))
@torch.no_grad()
def test_order_of_objects_changes_no_loss(system, found, size, seed, order):
    model, make = system
    sample = make(found, size, seed)
    places = torch.tensor([k for k in order if k < len(found)], dtype=torch.int64)
    given_objects = sample["instances"]
    moved = (
        [f[places] for f in given_objects]
        if isinstance(given_objects, list)
        else given_objects[places]
    )
    one = losses_of(model, [sample])
    other = losses_of(model, [{**sample, "instances": moved}])
    for name in one:
        torch.testing.assert_close(one[name], other[name], **CLOSE, msg=name)


@few
@given(valid=st.integers(1, 64), value=st.floats(-100, 100), seed=seeds)
@torch.no_grad()
def test_padded_features_change_no_answer_of_vistr(valid, value, seed):
    network = build_vistr().network.eval()
    clip = torch.randn(1, 2, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    padding = torch.zeros(1, 64, 64, dtype=torch.bool)
    padding[:, :, valid:] = True
    (source,), laterals = network._encode_frames(clip)
    stirred = source.clone()
    stride = 64 // source.shape[-1]
    stirred[..., -(-valid // stride) :] += value
    answers = []
    for features in (source, stirred):
        network._encode_frames = lambda _, f=features: ([f], laterals)
        found = network(clip, padding)
        answers.append((found.logits, found.boxes))
    torch.testing.assert_close(*answers, rtol=0, atol=1e-5)


@few
@given(valid=st.integers(1, 64), value=st.floats(-100, 100), seed=seeds)
@torch.no_grad()
def test_padded_features_change_no_answer_of_detr(valid, value, seed):
    torch.manual_seed(0)
    network = build_model(detr.tiny_cfg()).network.eval()
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    padding = torch.zeros(1, 64, 64, dtype=torch.bool)
    padding[:, :, valid:] = True
    features = network.backbone(image)
    stirred = {name: each.clone() for name, each in features.items()}
    for each in stirred.values():
        each[..., -(-valid * each.shape[-1] // 64) :] += value
    answers = []
    for given_features in (features, stirred):
        network.backbone.forward = lambda _, f=given_features: f
        found = network(image, padding)
        answers.append((found.logits, found.boxes))
    torch.testing.assert_close(*answers, rtol=0, atol=1e-5)

"""Matching, losses and gradients against arrays of the official implementation."""

import pytest
import torch
from d2video.projects.vistr import InstanceSequenceMatcher
from detectron2.utils.events import EventStorage

from d2video.checkpoint.convert import CONVERTER_REGISTRY
from d2video.modeling.criterion import matching_metrics
from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ClipTargets
from tests.helpers.golden_io import load
from tests.projects.VisTR.golden_models import golden_criterion, golden_vistr

# float32 sums of a few thousand terms in another order.
RTOL, ATOL = 2e-5, 1e-6


def clip_targets(data: dict, prefix: str, num_frames: int) -> ClipTargets:
    """Official targets (instance-major, absent frames as class 0) as ours."""
    labels = data[f"{prefix}labels"].unflatten(0, (-1, num_frames))
    return ClipTargets(
        classes=labels.amax(1) if len(labels) else labels.new_zeros(0),
        boxes=data[f"{prefix}boxes"].unflatten(0, (-1, num_frames)),
        present=data[f"{prefix}valid"].unflatten(0, (-1, num_frames)).bool(),
        masks=data[f"{prefix}masks"].unflatten(0, (-1, num_frames)).bool(),
    )


def matcher_cases() -> list[str]:
    return sorted(load("vistr_matcher_criterion.npz")[2]["specs"])


@pytest.mark.parametrize("variant", ["official", "fixed"])
@pytest.mark.parametrize("case", matcher_cases())
def test_matcher_and_criterion(case, variant):
    _, data, config = load("vistr_matcher_criterion.npz")
    spec = config["specs"][case]
    data = {k.removeprefix(f"{case}."): v for k, v in data.items() if k.startswith(f"{case}.")}
    num_frames = spec["T"]
    targets = [clip_targets(data, f"tgt{b}.", num_frames) for b in range(spec["bs"])]
    names = [f"aux{i}." for i in range(spec.get("aux", 1))] + [""]
    logits = torch.stack([data[f"{n}pred_logits"] for n in names]).requires_grad_()
    boxes = torch.stack([data[f"{n}pred_boxes"] for n in names]).requires_grad_()
    masks = data["pred_masks"].clone().requires_grad_()

    matcher = InstanceSequenceMatcher(
        count_absent_frames=True, official_presence=variant == "official"
    )
    predictions = Predictions(logits, boxes, lambda clip, query: masks[clip, query])
    with torch.no_grad():
        for b, target in enumerate(targets):
            cost = matcher.cost(predictions.of_image(b), target)[-1]
            torch.testing.assert_close(cost, data[f"cost{b}"], rtol=RTOL, atol=ATOL)
    matches = matcher(predictions, targets)
    last = matches.of_layer(len(names) - 1)
    offset = 0
    for b, target in enumerate(targets):
        mine = last.batch == b
        assert torch.equal(last.query[mine], data[f"{variant}.idx{b}.src"])
        assert torch.equal(last.target[mine] - offset, data[f"{variant}.idx{b}.tgt"])
        offset += len(target) * num_frames

    criterion = golden_criterion(config["num_classes"])
    classes = torch.cat([data[f"tgt{b}.labels"] for b in range(spec["bs"])])
    losses = criterion(predictions, matches, [target.by_frame() for target in targets])
    weights = {"loss_bbox": 5, "loss_giou": 2}
    for name, value in losses.items():
        unweighted = value / weights.get(name.removesuffix("_0"), 1)
        golden = data[f"{variant}.loss.{name}"]
        torch.testing.assert_close(unweighted.detach(), golden, rtol=RTOL, atol=ATOL)
    total = sum(losses.values())
    torch.testing.assert_close(total.detach(), data[f"{variant}.total"], rtol=RTOL, atol=ATOL)
    for i, name in enumerate(names):
        error, objects = matching_metrics(
            logits[i], matches.of_layer(i), classes, criterion.class_loss
        )
        suffix = "" if not name else f"_{name[3:-1]}"
        lengths = torch.tensor([float(len(data[f"tgt{b}.labels"])) for b in range(spec["bs"])])
        cardinality = (objects - lengths).abs().mean()
        torch.testing.assert_close(cardinality, data[f"{variant}.loss.cardinality_error{suffix}"])
        if not name:
            torch.testing.assert_close(error, data[f"{variant}.loss.class_error"])

    total.backward()
    for name, tensor in (
        ("logits", logits.grad[-1]),
        ("boxes", boxes.grad[-1]),
        ("masks", masks.grad),
    ):
        golden = data.get(f"{variant}.grad.pred_{name}")
        if golden is not None:
            torch.testing.assert_close(tensor, golden, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("variant", ["official", "fixed"])
def test_training_step_losses_and_gradients(variant):
    """A whole step: the mask branch runs for matched slots only, and nothing changes."""
    weights, _, config = load("vistr_segm_tiny_weights.npz")
    _, data, _ = load("vistr_segm_tiny_loss.npz")
    model = golden_vistr(config, weights, mask_on=True, official=variant == "official")
    targets = [clip_targets(data, "tgt.", config["num_frames"])]
    answers = []
    network_hook = model.network.register_forward_hook(lambda *args: answers.append(args[2]))
    with EventStorage() as storage:
        losses = model.losses(data["in.tensors"][None], None, targets)
    network_hook.remove()
    (found,) = answers
    last = model.matcher(found, targets).of_layer(len(found.logits) - 1)
    assert torch.equal(last.query, data[f"{variant}.src_idx"])
    assert torch.equal(last.target, data[f"{variant}.tgt_idx"])
    logged = {name: value for name, (value, _) in storage.latest().items()}
    class_error = data[f"{variant}.loss.class_error"].item()
    assert logged["class_error"] == pytest.approx(class_error, rel=1e-5)
    # The official cardinality error: the objects predicted against the rows of the targets.
    cardinality = abs(logged["predicted_objects"] - len(data["tgt.labels"]))
    assert cardinality == data[f"{variant}.loss.cardinality_error"].item()
    for name, value in losses.items():
        weight = {"loss_bbox": 5, "loss_giou": 2}.get(name.removesuffix("_0"), 1)
        golden = data[f"{variant}.loss.{name}"]
        torch.testing.assert_close(value.detach() / weight, golden, rtol=1e-4, atol=1e-5)
    total = sum(losses.values())
    torch.testing.assert_close(total.detach(), data[f"{variant}.total"], rtol=1e-5, atol=0)
    total.backward()

    name_of = CONVERTER_REGISTRY["VisTR"]["vistr"].name_of
    grads = {name_of(n): p.grad for n, p in model.named_parameters() if p.grad is not None}
    names, values = data[f"{variant}.gradnorm.names"], data[f"{variant}.gradnorm.values"]
    assert set(names.tolist()) == set(grads)
    norms = torch.tensor([grads[name].double().norm() for name in names.tolist()])
    # Norms of gradients that cancel to nearly nothing carry absolute noise.
    torch.testing.assert_close(norms, values, rtol=1e-3, atol=1e-5 * float(values.max()))
    total_norm = norms.square().sum().sqrt()
    torch.testing.assert_close(total_norm, data[f"{variant}.gradnorm.total"], rtol=1e-4, atol=0)
    for key, golden in data.items():
        if key.startswith("official.grad.") and variant == "official":
            ours = grads[key.removeprefix("official.grad.")]
            # Ours agrees with its own float64 run to 1e-5 of the largest entry, the stored float32
            # gradients of the mask branch to 2e-3 only: a ReLU gate near zero decides otherwise.
            scale = golden.abs().max().item()
            torch.testing.assert_close(ours, golden, rtol=1e-3, atol=4e-3 * scale)

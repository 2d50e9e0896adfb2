"""The network against arrays of the official implementation, same weights and inputs.

Tolerances: float32 noise of these networks against float64 is 3e-5 (logits), 4e-6 (boxes) and 1.3e-4
(masks); wrong axes, heads or layouts change the outputs by more than 0.05 (fact sheet, section 4).
"""

from dataclasses import replace

import pytest
import torch
from d2video.projects.detr.converter import foreign_name, segmentation_name
from detectron2.utils.events import EventStorage

from d2video.layers import SinePositionEncoding
from d2video.modeling.criterion import SetCriterion
from d2video.modeling.losses import CrossEntropy
from d2video.modeling.matcher import HungarianMatcher
from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ImageTargets
from d2video.structures.padding import pad_clips
from tests.helpers.golden_io import load
from tests.projects.DETR.golden_models import golden_detr

LOGITS, BOXES, MASKS = 5e-4, 5e-5, 1e-3


def close(ours: torch.Tensor, golden: torch.Tensor, atol: float) -> None:
    torch.testing.assert_close(ours, golden, rtol=0, atol=atol)


def batch(data: dict) -> tuple[torch.Tensor, torch.Tensor]:
    canvas, padding = pad_clips([data["in.image0"][None], data["in.image1"][None]])
    assert torch.equal(padding, data["in.mask"])
    return canvas[:, 0], padding


def targets_of(data: dict) -> list[ImageTargets]:
    found = []
    for b in range(2):
        masks = data.get(f"tgt{b}.masks")
        found.append(
            ImageTargets(
                data[f"tgt{b}.labels"],
                data[f"tgt{b}.boxes"],
                None if masks is None else masks.bool(),
            )
        )
    return found


@pytest.mark.parametrize(("case", "step"), [("a", 1), ("b", 1), ("full", 16)])
def test_sine_positions(case, step):
    """Of the official width only every 16th channel is stored."""
    _, data, _ = load("detr_pos2d.npz")
    golden = data[f"sine.{case}.out"]
    encoding = SinePositionEncoding(golden.shape[1] * step, num_axes=2)
    # One float32 step of the angle, at most 2 pi.
    close(encoding(data[f"sine.{case}.mask"])[..., ::step].permute(0, 3, 1, 2), golden, 5e-6)


@torch.no_grad()
def test_detection_on_a_padded_batch():
    """Canvas 120x170, no multiple of 32."""
    weights, data, config = load("detr_det_tiny.npz")
    network = golden_detr(config, weights).network
    found = network(*batch(data))
    encoded = found.encoded
    close(encoded.memory.permute(0, 3, 1, 2), data["mid.memory"], LOGITS)
    close(encoded.queries, data["mid.hs"][-1], LOGITS)
    for layer, name in enumerate(["aux0.", "aux1.", ""]):
        close(found.logits[layer], data[f"out.{name}pred_logits"], LOGITS)
        close(found.boxes[layer], data[f"out.{name}pred_boxes"], BOXES)


@torch.no_grad()
def test_dc5():
    weights, data, config = load("detr_det_tiny.npz")
    network = golden_detr(config, weights, dilated=True).network
    images, padding = batch(data)
    close(network.backbone(images)["res5"][:, ::8], data["dc5.mid.layer4"], LOGITS)
    found = network(images, padding)
    for layer, name in enumerate(["aux0.", "aux1.", ""]):
        close(found.logits[layer], data[f"dc5.out.{name}pred_logits"], LOGITS)
        close(found.boxes[layer], data[f"dc5.out.{name}pred_boxes"], BOXES)


@pytest.mark.parametrize("file", ["detr_det_tiny.npz", "detr_segm_tiny.npz"])
def test_answers(file):
    weights, data, config = load(file)
    model = golden_detr(config, weights)
    masks = model.network.mask_branch is not None
    sizes = data["post.orig_sizes" if masks else "post.target_sizes"].tolist()
    inputs = [
        {"image": data[f"in.image{b}"], "height": size[0], "width": size[1]}
        for b, size in enumerate(sizes)
    ]
    for b, answer in enumerate(model(inputs)):
        found = answer["instances"]
        close(found.scores, data[f"post.{b}.scores"], 1e-5)
        assert torch.equal(found.pred_classes, data[f"post.{b}.labels"])
        # Relative to images of up to 640 pixels.
        close(found.pred_boxes.tensor, data[f"post.{b}.boxes"], BOXES * max(sizes[b]))
        if masks:
            golden = data[f"post.{b}.masks"][:, 0].bool()
            # A logit within float32 noise of 0 may fall to either side.
            assert (found.pred_masks != golden).float().mean() < 1e-3


@torch.no_grad()
def test_masks():
    weights, data, config = load("detr_segm_tiny.npz")
    network = golden_detr(config, weights).network
    found = network(*batch(data))
    encoded = found.encoded
    close(encoded.source, data["mid.src_proj"], LOGITS)
    for layer, name in enumerate(["aux0.", ""]):
        close(found.logits[layer], data[f"out.{name}pred_logits"], LOGITS)
        close(found.boxes[layer], data[f"out.{name}pred_boxes"], BOXES)
    close(encoded.memory.permute(0, 3, 1, 2), data["mid.memory"], LOGITS)
    close(encoded.queries, data["mid.hs"][-1], LOGITS)
    branch = network.mask_branch
    attention = branch.bbox_attention(encoded.queries, encoded.memory, encoded.padding)
    close(attention, data["mid.bbox_attention"], 1e-5)
    images = torch.tensor([0, 1]).repeat_interleave(config["num_queries"])
    queries = torch.arange(config["num_queries"]).repeat(2)
    masks = branch(encoded, images, queries)
    close(masks.unflatten(0, (2, -1)), data["out.pred_masks"], MASKS)
    # Any queries, in any order, have the masks they have together.
    some = torch.tensor([13, 2, 7])
    close(branch(encoded, images[some], queries[some]), masks[some], 1e-4)


@torch.no_grad()
def test_masks_with_positions_in_their_attention():
    """The switch changes the official masks, to those of an attention over memory + positions."""
    weights, data, config = load("detr_segm_tiny.npz")
    network = golden_detr(config, weights).network
    images, padding = batch(data)
    encoded = network(images, padding).encoded
    branch = network.mask_branch
    rows = torch.tensor([0, 1, 1]), torch.tensor([4, 0, 8])
    golden = data["out.pred_masks"][rows]
    close(branch(encoded, *rows), golden, MASKS)
    branch.bbox_attention.use_positions = True
    found = branch(encoded, *rows)
    assert (found - golden).abs().max() > 10 * MASKS
    positions = network.position_encoding(encoded.padding)
    assert not torch.equal(positions[0], positions[1])  # the images are of different sizes
    branch.bbox_attention.use_positions = False
    close(branch(replace(encoded, memory=encoded.memory + positions), *rows), found, 1e-5)


@torch.no_grad()
def test_few_queries_at_a_time_equal_all_at_once(monkeypatch):
    weights, data, config = load("detr_segm_tiny.npz")
    network = golden_detr(config, weights).network
    encoded = network(*batch(data)).encoded
    some = (torch.tensor([0, 1, 1]), torch.tensor([4, 0, 8]))
    whole = network.mask_branch(encoded, *some)
    monkeypatch.setattr("d2video.modeling.pixels.INFERENCE_ELEMENTS", {"cpu": 1})
    rows = []
    hook = network.mask_branch.mask_head.register_forward_hook(
        lambda _, inputs, output: rows.append(len(output))
    )
    close(network.mask_branch(encoded, *some), whole, 1e-4)
    hook.remove()
    assert rows == [1, 1, 1]


@pytest.mark.parametrize(
    ("file", "name_of"),
    [("detr_det_tiny.npz", foreign_name), ("detr_segm_tiny.npz", segmentation_name)],
)
def test_losses_and_gradients(file, name_of):
    """The mask branch runs for matched queries only; losses and gradients stay the official ones."""
    weights, data, config = load(file)
    model = golden_detr(config, weights)
    targets = targets_of(data)
    with EventStorage() as storage:
        losses = model.losses(*batch(data), targets)
        assert storage.latest()["class_error"][0] == pytest.approx(
            float(data["loss.class_error"]), abs=1e-4
        )
    weighted = {
        name: value * config["loss_weights"][name]
        for name, value in ((k[5:], v) for k, v in data.items() if k.startswith("loss."))
        if name in config["loss_weights"]
    }
    assert set(losses) == set(weighted)
    for name, value in weighted.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-5, atol=1e-5)
    total = sum(losses.values())
    torch.testing.assert_close(total, data["loss_total"], rtol=1e-5, atol=0)
    total.backward()
    gradients = {
        name_of(name): p.grad for name, p in model.named_parameters() if p.grad is not None
    }
    norms = dict(zip(data["gradnorm.names"].tolist(), data["gradnorm.values"].tolist()))
    assert set(gradients) == set(norms)
    largest = max(norms.values())
    for name, norm in norms.items():
        # Small gradients are sums of large terms: noise relative to the largest.
        assert float(gradients[name].norm()) == pytest.approx(norm, rel=1e-3, abs=1e-5 * largest), (
            name
        )
    for key, golden in data.items():
        if key.startswith("grad."):
            scale = float(golden.abs().max())
            close(gradients[key[5:]], golden, 1e-3 * scale)


def test_matcher_and_criterion():
    """Images without objects (c1), more objects than queries (c2), nothing at all (c3)."""
    _, data, config = load("detr_matcher_criterion.npz")
    cases = sorted({key.split(".")[0] for key in data})
    assert len(cases) == 4
    for case in cases:
        part = {k[len(case) + 1 :]: v for k, v in data.items() if k.startswith(case + ".")}
        logits = part["pred_logits"].clone().requires_grad_()
        boxes = part["pred_boxes"].clone().requires_grad_()
        masks = part["pred_masks"].clone().requires_grad_()
        targets = [
            ImageTargets(
                part[f"tgt{b}.labels"], part[f"tgt{b}.boxes"], part[f"tgt{b}.masks"].bool()
            )
            for b in range(len(logits))
        ]
        all_logits = torch.stack([part["aux0.pred_logits"], logits])
        all_boxes = torch.stack([part["aux0.pred_boxes"], boxes])
        predictions = Predictions(
            all_logits, all_boxes, lambda image, query, masks=masks: masks[image, query]
        )
        matcher = HungarianMatcher()
        for b, target in enumerate(targets):
            cost = matcher.cost(predictions.of_image(b), target)[-1]
            torch.testing.assert_close(cost, part[f"cost{b}"], rtol=1e-5, atol=1e-5)
        matches = matcher(predictions, targets)
        last = matches.of_layer(1)
        offset = 0
        for b, target in enumerate(targets):
            mine = last.batch == b
            assert torch.equal(last.query[mine], part[f"idx{b}.src"])
            assert torch.equal(last.target[mine] - offset, part[f"idx{b}.tgt"])
            offset += len(target)
        criterion = SetCriterion(logits.shape[-1] - 1, CrossEntropy(config["eos_coef"]))
        losses = criterion(predictions, matches, targets)
        for name, value in losses.items():
            torch.testing.assert_close(
                value, part[f"loss.{name}"] * config["weights"][name], rtol=1e-5, atol=1e-5
            )
        total = sum(losses.values())
        torch.testing.assert_close(total, part["total"], rtol=1e-5, atol=1e-5)
        total.backward()
        for tensor, name in ((logits, "pred_logits"), (boxes, "pred_boxes"), (masks, "pred_masks")):
            gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            close(gradient, part[f"grad.{name}"], 1e-5)

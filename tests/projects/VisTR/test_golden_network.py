"""The network against arrays of the official implementation, same weights and inputs.

Tolerances: float32 noise of these networks against float64 is 3e-5 (logits), 4e-6 (boxes) and 1.3e-4
(masks); wrong axes, heads or layouts change the outputs by more than 0.05 (fact sheet, section 4).
"""

import pytest
import torch

from tests.helpers.golden_io import load
from tests.projects.VisTR.golden_models import golden_vistr

LOGITS, BOXES, MASKS = 5e-4, 5e-5, 1e-3


def close(ours: torch.Tensor, golden: torch.Tensor, atol: float) -> None:
    torch.testing.assert_close(ours, golden, rtol=0, atol=atol)


def check_encoded(encoded, data: dict, num_frames: int) -> None:
    """Images of ours are frames; the official arrays join the frames of a clip."""
    memory = encoded.memory.flatten(1, 2).unflatten(0, (-1, num_frames))
    close(memory.permute(0, 3, 1, 2), data["mid.memory"], LOGITS)
    queries = encoded.queries.unflatten(0, (-1, num_frames)).flatten(1, 2)
    close(queries, data["mid.hs"][-1], LOGITS)


@pytest.fixture(scope="module")
def segmentation():
    weights, _, config = load("vistr_segm_tiny_weights.npz")
    return golden_vistr(config, weights, mask_on=True)


@torch.no_grad()
def test_detection_network_on_a_padded_batch():
    weights, data, config = load("vistr_det_tiny.npz")
    network = golden_vistr(config, weights, mask_on=False).network
    frames = data["in.tensors"].unflatten(0, (2, config["num_frames"]))
    padding = data["in.mask"].unflatten(0, (2, config["num_frames"]))[:, 0]
    found = network(frames, padding)
    check_encoded(found.encoded, data, config["num_frames"])
    for layer, name in enumerate(["aux0.", "aux1.", ""]):
        close(found.logits[layer], data[f"out.{name}pred_logits"], LOGITS)
        close(found.boxes[layer], data[f"out.{name}pred_boxes"], BOXES)


@torch.no_grad()
@pytest.mark.parametrize("case", ["A", "B"], ids=["unpadded", "padded"])
def test_segmentation_network(segmentation, case):
    _, data, config = load("vistr_segm_tiny_io.npz")
    data = {key[2:]: value for key, value in data.items() if key.startswith(f"{case}.")}
    network = segmentation.network
    mask = data["in.mask"][:1]
    padding = mask if mask.any() else None
    found = network(data["in.tensors"][None], padding)
    encoded = found.encoded
    for layer, name in enumerate(["aux0.", ""]):
        close(found.logits[layer], data[f"out.{name}pred_logits"], LOGITS)
        close(found.boxes[layer], data[f"out.{name}pred_boxes"], BOXES)
    check_encoded(encoded, data, config["num_frames"])

    slots = torch.arange(config["queries_per_frame"])
    masks = network.masks(encoded, torch.zeros_like(slots), slots)
    # Official masks are frame-major: query t * slots + s.
    close(masks.transpose(0, 1).flatten(0, 1), data["out.pred_masks"][0], MASKS)

    attention = network.bbox_attention(encoded.queries, encoded.memory, encoded.padding)
    close(attention, data["mid.bbox_attention"][0], 1e-5)
    shared = network.mask_head.shared(encoded.source)
    rows, laterals = torch.tensor([1, 1, 1]), encoded.laterals
    features = network.mask_head(shared, attention[1, :3], rows, laterals)
    close(features, data["mid.mask_head_f1_q0to2"], MASKS)
    offsets = []
    hook = network.mask_head.deform_conv.offset.register_forward_hook(
        lambda *args: offsets.append(args[2])
    )
    network.mask_head(shared, attention[1, :1], rows[:1], laterals)
    hook.remove()
    close(offsets[0], data["mid.dcn_offset_f1_q0"], MASKS)


@torch.no_grad()
def test_a_slot_alone_equals_the_slot_among_all(segmentation):
    _, data, config = load("vistr_segm_tiny_io.npz")
    network = segmentation.network
    encoded = network(data["A.in.tensors"][None], None).encoded
    some = torch.tensor([7, 2])
    everything = torch.arange(config["queries_per_frame"])
    clip = torch.zeros_like(everything)
    # Convolutions of another batch size may sum in another order: float32 noise only.
    close(
        network.masks(encoded, clip[:2], some), network.masks(encoded, clip, everything)[some], 1e-4
    )


@torch.no_grad()
def test_few_frames_at_a_time_equal_all_at_once(segmentation, monkeypatch):
    _, data, _ = load("vistr_segm_tiny_io.npz")
    network = segmentation.network
    slots = (torch.zeros(3, dtype=torch.int64), torch.tensor([0, 4, 9]))
    whole = network.masks(network(data["A.in.tensors"][None], None).encoded, *slots)
    monkeypatch.setattr("d2video.modeling.pixels.INFERENCE_ELEMENTS", {"cpu": 1})
    sizes = {"backbone": [], "mask_head": [], "insmask_head": []}
    hooks = [
        getattr(network, name).register_forward_hook(
            lambda _, inputs, output, seen=seen: seen.append(
                len(output if isinstance(output, torch.Tensor) else inputs[0])
            )
        )
        for name, seen in sizes.items()
    ]
    close(network.masks(network(data["A.in.tensors"][None], None).encoded, *slots), whole, 1e-4)
    for hook in hooks:
        hook.remove()
    # Three frames, three slots: memory holds one row at a time, and one slot's features.
    assert sizes == {"backbone": [1] * 3, "mask_head": [1] * 9, "insmask_head": [1] * 3}

"""A training step against the official one, which drew the random numbers that are replayed here."""

from unittest import mock

import pytest
import torch
from d2video.projects.trackformer.training.track_queries import NO_OBJECT
from detectron2.utils.events import EventStorage

from d2video.modeling.targets import ImageTargets
from d2video.structures.padding import pad_clips
from tests.projects.TrackFormer.golden_models import (
    golden_model,
    golden_network,
    load_golden,
    official_name,
)
from tests.projects.TrackFormer.network.test_golden_network import TRACKING, check, close


def golden_targets(data: dict, prefix: str = "") -> list[ImageTargets]:
    targets = []
    for b in range(2):
        names = ("labels", "boxes", "masks", "track_ids")
        targets.append(
            ImageTargets(*(data.get(f"train/target{b}/{prefix}{name}") for name in names))
        )
    return targets


def replay(log: list[dict]):
    """Patches of torch's functions that answer what the log says, in its order."""

    def function(name: str):
        def answer(*args, **kwargs):
            entry = log.pop(0)
            assert entry["fn"] == name
            return torch.tensor(entry["result"])

        return mock.patch(f"torch.{name}", answer)

    return function("randint"), function("randperm"), function("multinomial")


@pytest.mark.parametrize("file", TRACKING)
def test_training_step(file):
    weights, data, config = load_golden(file)
    model = golden_model(golden_network(weights, config), config).train()
    network = model.network

    outputs, sampled = [], []
    network.register_forward_hook(lambda _, inputs, output: outputs.append(output))
    sampler = model.sampler
    model.sampler = lambda *args, **kwargs: sampled.append(sampler(*args, **kwargs)) or sampled[-1]
    clips = [
        torch.stack([data[f"train/prev_image{b}"], data[f"train/cur_image{b}"]]) for b in range(2)
    ]
    canvas, padding = pad_clips(clips)
    assert padding.any()
    log = list(config["rng_log"])
    targets = [golden_targets(data, "prev_target/"), golden_targets(data)]
    patches = replay(log)
    with EventStorage() as storage, patches[0], patches[1], patches[2]:
        losses = model.losses(list(canvas.unbind(1)), padding, targets)
        error = storage.latest()["class_error"][0]
    assert log == []

    previous, current = outputs
    assert len(previous.logits) == 1  # nothing but the last layer is asked for
    close(previous.logits[-1], data["train/prev_out/pred_logits"])
    close(previous.boxes[-1], data["train/prev_out/pred_boxes"])
    close(previous.embeddings, data["train/prev_out/hs_embed"])
    (tracks, rows) = sampled[0]
    count = rows.shape[1]
    assert tracks.padding is None
    for b in range(2):
        name = f"train/target{b}/"
        close(tracks.embeddings[b], data[f"{name}track_query_hs_embeds"])
        close(tracks.boxes[b], data[f"{name}track_query_boxes"])
        found = rows[b] != NO_OBJECT
        assert torch.equal(~found, data[f"{name}track_queries_fal_pos_mask"][:count])
        assert torch.equal(rows[b][found], data[f"{name}track_query_match_ids"])
        is_track = torch.arange(current.logits.shape[2]) < count
        assert torch.equal(is_track, data[f"{name}track_queries_mask"])
    check(current, data, "train/out/")
    if current.masks is not None:
        image, query = torch.meshgrid(*map(torch.arange, current.logits.shape[1:3]), indexing="ij")
        with torch.no_grad():
            masks = network.mask_branch(current.encoded, image.flatten(), query.flatten())
        close(masks, data["train/out/pred_masks"].flatten(0, 1))

    factors = config["weight_dict"]
    expected = {name: factors[name] for name in factors if f"train/loss/{name}" in data}
    assert set(losses) == set(expected)
    for name, factor in expected.items():
        golden = data[f"train/loss/{name}"] * factor
        torch.testing.assert_close(losses[name], golden, rtol=1e-5, atol=1e-5, msg=name)
    assert error == pytest.approx(float(data["train/loss/class_error"]), abs=1e-3)
    total = sum(losses.values())
    torch.testing.assert_close(total, data["train/loss_total_weighted"], rtol=1e-5, atol=0)

    total.backward()
    norms = config["grad_norm_per_param"]
    largest = max(norms.values())
    own = {
        official_name(name): float(p.grad.norm())
        for name, p in network.named_parameters()
        if p.grad is not None
    }
    assert set(own) == set(norms)
    for name, norm in norms.items():
        # Small gradients are sums of large terms: noise relative to the largest.
        assert own[name] == pytest.approx(norm, rel=1e-3, abs=1e-6 * largest), name
    total_norm = sum(value**2 for value in own.values()) ** 0.5
    assert total_norm == pytest.approx(float(data["train/grad_global_norm"]), rel=1e-4)

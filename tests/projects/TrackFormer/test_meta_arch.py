"""Training of the whole model: gradients, padding, order."""

import pytest
import torch
from d2video.projects.trackformer.network.base import FrameFeatures, Pyramid, TrackQueries
from d2video.projects.trackformer.training.track_queries import NO_OBJECT, PADDED
from torch import Tensor

from tests.projects.TrackFormer.tiny import (
    NODE,
    VARIANTS,
    build,
    losses_of,
    make_frame,
    make_pair,
)

KEEP_ALL = (f"{NODE}.FALSE_NEGATIVE_PROB", 0.0, f"{NODE}.FALSE_POSITIVE_PROB", 0.0)
DROP_ALL = (f"{NODE}.FALSE_NEGATIVE_PROB", 1.0)
BATCHES = {
    "two_sizes": [make_pair(), make_pair((0, 2), (), height=33, width=70, seed=1)],
    "one_size": [make_pair(), make_pair((), (0, 1), seed=1)],
    "no_objects": [make_pair((), ()), make_pair((), (), seed=1)],
    "more_objects_than_queries": [make_pair(range(9), range(9), height=64, width=96)],
}


def without_gradient(model) -> list[str]:
    return [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not torch.isfinite(p.grad).all())
    ]


def equal(ours: dict, others: dict, rtol: float = 1e-5) -> None:
    assert set(ours) == set(others)
    for name in ours:
        torch.testing.assert_close(ours[name], others[name], rtol=rtol, atol=1e-5, msg=name)


# ---- inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(40, 40), (40, 33)])
def test_what_is_trained_on(sizes):
    """Normalised frames, the earliest first; padding where sizes differ; boxes as parts of the image."""
    model = build("detr_masks")
    given = []
    model.losses = lambda *args: given.append(args) or {}
    batch = [make_pair((2, 0), height=sizes[0], num_previous=2), make_pair(height=sizes[1], seed=1)]
    batch[1]["previous"].append(make_frame(sizes[1], 56, [], 0, 5))
    losses_of(model, batch)
    (frames, padding, targets, before) = given[0]
    assert before is None
    assert len(frames) == len(targets) == 3
    for t in range(3):
        for b, item in enumerate(batch):
            source = [item, *item["previous"]][2 - t]
            own = frames[t][b, :, : sizes[b]]
            assert torch.equal(own, model.normalize(source["image"]))
            assert not frames[t][b, :, sizes[b] :].any()
            assert torch.equal(targets[t][b].ids, source["instances"].gt_ids)
            assert torch.equal(targets[t][b].masks, source["instances"].gt_masks.tensor)
    if sizes[0] == sizes[1]:
        assert padding is None
    else:
        assert not padding[0].any()
        assert torch.equal(padding[1], (torch.arange(40) >= 33)[:, None].expand(-1, 56))
    # Object 2 lies at 16, 11 and is 12 wide and 16 high.
    expected = torch.tensor([22 / 56, 19 / 40, 12 / 56, 16 / 40])
    torch.testing.assert_close(targets[2][0].boxes[0], expected)
    assert targets[2][0].classes.tolist() == [2, 0]


def test_what_track_queries_are_made_of():
    """Of three frames: false positives in the last step alone, and none of a padded query."""
    model = build("deformable", *KEEP_ALL)
    calls, sampler = [], model.sampler

    def record(embeddings, boxes, matches, previous, current, **options):
        calls.append((len(embeddings[0]), options))
        return sampler(embeddings, boxes, matches, previous, current, **options)

    model.sampler = record
    losses_of(model, [make_pair(num_previous=2), make_pair((), (), num_previous=2, seed=1)])
    (first, options), (second, later) = calls
    assert (first, second) == (7, 10)
    assert options == {"padding": None, "false_positives": False}
    assert later["false_positives"]
    assert later["padding"].tolist() == [[False] * 10, [True] * 3 + [False] * 7]


def test_proposals_have_no_class():
    model = build("two_stage", *KEEP_ALL)
    losses = []
    for classes in ([0, 1, 2], [2, 2, 1]):
        item = make_pair()
        item["instances"].gt_classes = torch.tensor(classes)
        losses.append(losses_of(model, [item]))
    for name in losses[0]:
        if name.endswith("_enc"):
            assert torch.equal(losses[0][name], losses[1][name])
    assert not torch.equal(losses[0]["loss_ce"], losses[1]["loss_ce"])


# ---- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "batch"),
    [
        *((variant, "two_sizes") for variant in VARIANTS),
        *(("multi_frame", batch) for batch in BATCHES if batch != "two_sizes"),
        *((variant, "one_size") for variant in ("detr_track_attention", "two_stage")),
        *((variant, "no_objects") for variant in ("detr_masks", "deformable_masks", "two_stage")),
        *((variant, "more_objects_than_queries") for variant in ("detr_masks", "two_stage")),
    ],
)
def test_every_trained_parameter_has_a_gradient(variant, batch):
    model = build(variant, *KEEP_ALL)
    losses = losses_of(model, BATCHES[batch])
    sum(losses.values()).backward()
    assert without_gradient(model) == []
    assert ("loss_dice" in losses) == ("masks" in variant)
    assert ("loss_giou_enc" in losses) == (variant == "two_stage")
    if batch == "no_objects":
        assert losses["loss_bbox"] == 0 < losses["loss_ce"]
    # One without any gradient would pass unseen above.
    moved = [p.grad.any() for name, p in model.named_parameters() if "sampling_offsets" in name]
    assert all(moved)
    assert bool(moved) == ("detr" not in variant)


@pytest.mark.parametrize("variant", ["detr_track_attention", "multi_frame"])
def test_gradients_without_any_track_query(variant):
    model = build(variant, *DROP_ALL)
    asked = []
    model.network.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[3]))
    sum(losses_of(model, BATCHES["two_sizes"]).values()).backward()
    assert asked[0] is None
    assert asked[1].embeddings.shape[1] == 0
    assert without_gradient(model) == []


def test_losses_of_all_layers():
    model = build("deformable")
    losses = losses_of(model, BATCHES["one_size"])
    names = {"loss_ce", "loss_bbox", "loss_giou"}
    assert set(losses) == names | {f"{name}_0" for name in names}


@pytest.mark.parametrize("variant", ["detr", "multi_frame", "merged", "three_frames"])
def test_previous_frames_do_not_learn(variant):
    """But what is projected of them for the current frame does."""
    model = build(variant, *KEEP_ALL)
    outputs, projected, current = [], [], model.network.project
    model.network.register_forward_hook(lambda _, inputs, output: outputs.append(output))
    model.network.project = lambda features: projected.append(current(features)) or projected[-1]
    same = (0, 1, 2)
    losses = losses_of(model, [make_pair(same, same, num_previous=2)])
    assert len(outputs) == 3
    embeddings = [output.embeddings for output in outputs]
    assert [e.requires_grad for e in embeddings] == [False, False, True]
    number = {"detr": 0, "multi_frame": 1, "merged": 1, "three_frames": 2}[variant]
    frames = projected[-number:] if number else []
    for frame in frames:
        frame.levels[0].retain_grad()
    sum(losses.values()).backward()
    assert all(frame.levels[0].grad.any() for frame in frames)


def test_which_frames_a_third_frame_sees():
    """Two previous frames: the earliest has none before it, the next one the earliest."""
    model = build("three_frames", *KEEP_ALL)
    seen = []
    model.network.register_forward_pre_hook(
        lambda _, inputs: seen.append(
            (inputs[1].levels[0].detach(), [frame.levels[0].detach() for frame in inputs[2]])
        )
    )
    losses_of(model, [make_pair(num_previous=2)])
    (first, none), (second, one), (_, two) = seen
    assert none == []
    for frames, wanted in ((one, [first]), (two, [second, first])):
        assert len(frames) == len(wanted)
        for frame, other in zip(frames, wanted):
            torch.testing.assert_close(frame, other)
    assert (first - second).abs().max() > 1e-3


def test_only_the_mask_branch_learns_on_a_frozen_detector():
    frozen = (f"{NODE}.FREEZE_DETECTOR", True, f"{NODE}.DROPOUT", 0.5)
    for variant in ("detr_masks", "deformable_masks"):
        model = build(variant, *frozen, *KEEP_ALL)
        losses = losses_of(model, BATCHES["one_size"])
        assert set(losses) == {"loss_mask", "loss_dice"}
        sum(losses.values()).backward()
        learning = {
            name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None
        }
        assert learning == {"mask_branch"}
        assert without_gradient(model) == []
        assert not model.network.transformer.training
        assert model.network.mask_branch.training
        # Without dropout the detector says the same every time.
        equal(losses, losses_of(model, BATCHES["one_size"], seed=1), rtol=0)


@pytest.mark.parametrize("variant", ["detr_track_attention", "multi_frame", "deformable_masks"])
def test_recomputed_activations_change_nothing(variant):
    gradients = []
    for checkpoint in (False, True):
        model = build(variant, "MODEL.ACTIVATION_CHECKPOINT", checkpoint)
        sum(losses_of(model, BATCHES["two_sizes"]).values()).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    equal(*gradients)


@pytest.mark.parametrize("variant", ["detr_masks", "multi_frame", "two_stage"])
def test_mixed_precision_stays_near_float32(variant):
    model = build(variant, *KEEP_ALL)
    exact = losses_of(model, BATCHES["two_sizes"])
    with torch.autocast("cpu", torch.bfloat16):
        mixed = losses_of(model, BATCHES["two_sizes"])
    sum(mixed.values()).backward()
    assert without_gradient(model) == []
    # Queries of nearly equal cost may be matched the other way round, so that terms can jump.
    total, other = (sum(losses.values()).item() for losses in (exact, mixed))
    assert other == pytest.approx(total, rel=0.15)


# ---- padding and order ----------------------------------------------------------------------------


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "three_frames"])
@torch.no_grad()
def test_images_with_fewer_track_queries(variant):
    """What an image says does not depend on its batch: padded queries are none.

    In float64: the group norm of a level of one pixel makes much of the last bits of float32, which depend
    on the batch.
    """
    model = build(variant).eval().double()
    network = model.network
    generator = torch.Generator().manual_seed(0)
    counts = [4, 0, 1]
    # Track links carry what a query was linked to along.
    channels = (1 + (variant == "track_links")) * network.transformer.width
    embeddings = torch.randn(3, 4, channels, generator=generator).double()
    boxes = 0.3 + 0.2 * torch.rand(3, 4, 4, generator=generator).double()
    padding = torch.arange(4) >= torch.tensor(counts)[:, None]
    images = torch.stack([make_frame(40, 56, [], 0, seed)["image"] for seed in range(3)])
    earlier = torch.stack([make_frame(40, 56, [], 0, seed)["image"] for seed in range(3, 6)])

    def run(rows: slice, tracks: TrackQueries | None):
        features = network.features(model.normalize(images[rows]), None)
        previous = network.project(network.features(model.normalize(earlier[rows]), None))
        return network(features, network.project(features), [previous], tracks)

    together = run(slice(None), TrackQueries(embeddings, boxes, padding))
    queries = together.logits.shape[2] - 4
    for b, count in enumerate(counts):
        one = slice(b, b + 1)
        tracks = TrackQueries(embeddings[one, :count], boxes[one, :count]) if count else None
        alone = run(one, tracks)
        kept = torch.cat([torch.arange(count), torch.arange(4, 4 + queries)])
        for name in ("logits", "boxes"):
            ours = getattr(together, name)[:, b, kept]
            torch.testing.assert_close(ours, getattr(alone, name)[:, 0], rtol=1e-4, atol=1e-5)
        ours = together.embeddings[b, kept]
        torch.testing.assert_close(ours, alone.embeddings[0], rtol=1e-4, atol=1e-4)
        assert torch.isfinite(together.logits).all()
        if together.masks is not None:
            rows = torch.tensor([0, len(kept) - 1])
            ours = network.mask_branch(together.encoded, torch.full_like(rows, b), kept[rows])
            masks = network.mask_branch(alone.encoded, torch.zeros_like(rows), rows)
            torch.testing.assert_close(ours, masks, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", ["detr_masks", "detr_track_attention", "multi_frame"])
def test_padded_track_queries_have_no_loss(variant):
    model = build(variant)
    sampler = model.sampler

    def pad(*args, **kwargs):
        tracks, rows = sampler(*args, **kwargs)
        batch, count, width = tracks.embeddings.shape
        padding = tracks.padding
        if padding is None:
            padding = torch.zeros(batch, count, dtype=torch.bool)
        extra = TrackQueries(
            torch.cat([torch.randn(batch, 3, width), tracks.embeddings], dim=1),
            torch.cat([torch.rand(batch, 3, 4), tracks.boxes], dim=1),
            torch.cat([torch.ones(batch, 3, dtype=torch.bool), padding], dim=1),
        )
        return extra, torch.nn.functional.pad(rows, (3, 0), value=PADDED)

    plain = losses_of(model, BATCHES["two_sizes"])
    model.sampler = pad
    equal(losses_of(model, BATCHES["two_sizes"]), plain, rtol=1e-4)


@pytest.mark.parametrize("garbage", [0.0, 9.0])
@pytest.mark.parametrize("variant", ["detr", "deformable", "multi_frame", "two_stage"])
@torch.no_grad()
def test_padding_of_images_changes_nothing(variant, garbage):
    """Padding on the right and at the bottom: valid ratios, positions and masks of the features."""
    model = build(variant).eval()
    network = model.network
    sizes = [(8, 12), (4, 6), (2, 3), (1, 2)] if variant != "detr" else [(4, 6)]
    generator = torch.Generator().manual_seed(0)
    width = network.transformer.width
    frames = [
        [torch.randn(1, width, *size, generator=generator) for size in sizes] for _ in range(2)
    ]
    tracks = TrackQueries(torch.randn(1, 2, width, generator=generator), torch.full((1, 2, 4), 0.4))

    def padded(levels: list[Tensor]) -> Pyramid:
        grown = [
            torch.nn.functional.pad(level, (0, w, 0, h), value=garbage)
            for level, (h, w) in zip(levels, sizes)
        ]
        paddings = [
            (torch.arange(2 * h)[:, None] >= h) | (torch.arange(2 * w) >= w) for h, w in sizes
        ]
        return Pyramid(grown, [padding[None] for padding in paddings])

    none = FrameFeatures([], None)
    current, previous = ([Pyramid(levels, None), padded(levels)] for levels in frames)
    plain = network(none, current[0], [previous[0]], tracks)
    larger = network(none, current[1], [previous[1]], tracks)
    torch.testing.assert_close(plain.logits, larger.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(plain.boxes, larger.boxes, rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", ["detr_masks", "deformable", "two_stage"])
def test_order_of_objects_changes_no_loss(variant):
    model = build(variant, *KEEP_ALL)
    batch = BATCHES["two_sizes"]
    shuffled = [dict(item) for item in batch]
    order = torch.tensor([2, 0, 1])
    first = shuffled[0]
    first["instances"] = first["instances"][order]
    previous = first["previous"][0]
    first["previous"] = [previous | {"instances": previous["instances"][order.flip(0)]}]
    equal(losses_of(model, shuffled), losses_of(model, batch))


def test_ids_tell_which_object_a_track_query_has():
    model = build("deformable", *KEEP_ALL)
    rows, sampler = [], model.sampler

    def record(*args, **kwargs):
        found = sampler(*args, **kwargs)
        rows.append(found[1])
        return found

    model.sampler = record
    losses_of(model, [make_pair((5, 0, 2), (0, 1, 2), height=64, width=96)])
    assert sorted(rows[0][0].tolist()) == [NO_OBJECT, 1, 2]

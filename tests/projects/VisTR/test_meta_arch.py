"""The meta-architecture with detectron2-style inputs."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.engine import DefaultPredictor
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from pycocotools import mask as coco_mask

from d2video.formats.geometry.rle import encode_masks
from d2video.utils.errors import UserError
from tests.projects.VisTR.tiny import make_clip, tiny_cfg


def losses_of(model, clips):
    with EventStorage():
        return model.train()(clips)


def build(*overrides, seed: int = 0):
    torch.manual_seed(seed)
    return build_model(tiny_cfg("MODEL.RESNETS.NORM", "FrozenBN", *overrides))


@torch.no_grad()
def build_with_patterned_masks(frames):
    """A random model whose masks are neither empty nor full: logits centred on these frames."""
    model = build().eval()
    model.network.insmask_head[-1].bias -= model.predict_clip(frames).mask_logits.median()
    return model


@pytest.mark.parametrize("counts", [(2,), (2, 0), (0,), (7, 1)], ids=str)
def test_training_gives_every_parameter_a_finite_gradient(counts):
    """None, few, and more instances than slots; clips of different sizes in one batch."""
    model = build()
    clips = [
        make_clip(40 + 8 * i, 56 - 9 * i, num_instances=n, seed=i) for i, n in enumerate(counts)
    ]
    losses = losses_of(model, clips)
    assert {"loss_ce", "loss_bbox", "loss_giou", "loss_mask", "loss_dice", "loss_ce_0"} <= set(
        losses
    )
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_mask_head_and_positions_follow_the_config():
    wide = build().network
    network = build(
        *("MODEL.VISTR.MASK_DIM", 12),
        *("MODEL.VISTR.POSITION_TEMPERATURE", 20.0),
        *("MODEL.VISTR.POSITION_WAVES", 2.0),
        *("MODEL.VISTR.MASK_POSITIONS", True),
    ).network
    assert (wide.mask_head.out_channels, network.mask_head.out_channels) == (6, 3)
    padding = torch.zeros(1, 2, 3, 4, dtype=torch.bool)
    official, ours = (each.position_encoding(padding)[0] for each in (wide, network))
    # Width 24: 8 channels an axis, sine and cosine of 4 waves, here those of the four columns.
    columns = torch.arange(1, 5)[:, None] / 4 * 2 * torch.pi
    waves = torch.arange(4) / 4
    torch.testing.assert_close(
        official[0, 0, :, 16::2], (columns / 10000**waves).sin(), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        ours[0, 0, :, 16::2], (2 * columns / 20**waves).sin(), atol=1e-5, rtol=0
    )
    clips = torch.rand(2, network.num_frames, 3, 32, 32)
    memories, keys = [], []
    for each in (wide, network):
        each.bbox_attention.k_linear.register_forward_pre_hook(lambda _, args: keys.append(args[0]))
        encoded = each(clips, None).encoded
        each.masks(encoded, torch.tensor([1]), torch.tensor([0]))
        memories.append(encoded.memory)
    assert torch.equal(keys[0], memories[0])
    grid = torch.zeros(1, network.num_frames, *encoded.memory.shape[1:3]).bool()
    positions = network.position_encoding(grid)
    torch.testing.assert_close(
        keys[1] - memories[1], positions.expand(2, -1, -1, -1, -1).flatten(0, 1)
    )


def test_a_batch_of_equal_clips_has_the_loss_of_one():
    model = build()
    one, two = losses_of(model, [make_clip()]), losses_of(model, [make_clip(), make_clip()])
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-5, atol=1e-6)


def test_mask_losses_of_a_batch_are_those_of_its_clips():
    """Two different clips of one size: each clip's matched slots get masks of that very clip."""
    model = build()
    clips = [make_clip(num_instances=2, seed=1), make_clip(num_instances=3, seed=2)]
    both = losses_of(model, clips)
    alone = [losses_of(model, [clip]) for clip in clips]
    # Losses are means over instances times frames.
    for name in ("loss_mask", "loss_dice", "loss_bbox", "loss_giou"):
        expected = alone[0][name] * 4 + alone[1][name] * 6
        torch.testing.assert_close(both[name] * 10, expected, rtol=1e-4, atol=1e-5)
    assert not torch.isclose(alone[0]["loss_dice"], alone[1]["loss_dice"], rtol=1e-3)


@torch.no_grad()
def test_masks_of_a_padded_clip_in_a_batch_equal_those_alone():
    network = build().network.eval()
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(2, 2, 3, 64, 64, generator=generator)
    padding = torch.zeros(2, 64, 64, dtype=torch.bool)
    padding[1, :, 40:] = padding[1, 48:] = True
    slots = torch.arange(5)
    encoded = network(frames, padding).encoded
    both = network.masks(encoded, torch.arange(2).repeat_interleave(5), slots.repeat(2))
    for clip, masks in enumerate(both.split(5)):
        own = slice(clip, clip + 1)
        encoded = network(frames[own], padding[own]).encoded
        alone = network.masks(encoded, torch.zeros_like(slots), slots)
        torch.testing.assert_close(masks, alone, rtol=0, atol=1e-4)
    assert (both[:5] - both[5:]).abs().max() > 1e-2


def test_training_leaves_its_input_as_it_is():
    model = build()
    model.label_offset = 1
    clip = make_clip(num_instances=2)
    clip["instances"] = [frame[torch.tensor([0, 1])] for frame in clip["instances"]]
    losses_of(model, [clip])
    assert clip["instances"][0].gt_classes.tolist() == [0, 1]


def test_more_classes_than_the_model_has():
    """Class K would be trained as "no object" in silence."""
    model = build()
    model.label_offset = 1
    with pytest.raises(UserError, match=r"class logit 3, the model ends at 2.*NUM_CLASSES"):
        losses_of(model, [make_clip(num_instances=3)])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("IN_FEATURES", ["res2", "res9"], r"IN_FEATURES is .*which are res2, res3"),
        ("IN_FEATURES", ["res3"], "name 2 or more"),
        ("HIDDEN_DIM", 28, "divisible by 6.*HIDDEN_DIM"),
        ("HIDDEN_DIM", 30, "30 is not divisible by 4 heads.*HIDDEN_DIM"),
        ("NUM_SLOTS", 0, "NUM_SLOTS is 0: set 1 or more"),
        ("LABEL_OFFSET", 1000, "LABEL_OFFSET is 1000: set less than NUM_CLASSES"),
    ],
)
def test_mistakes_in_the_config(key, value, message):
    with pytest.raises(UserError, match=message):
        build(f"MODEL.VISTR.{key}", value)


def test_padding_is_not_attended():
    """What lies in the padding of a batch changes no class or box."""
    model = build()
    network = model.network.eval()
    frames = torch.randn(1, 2, 3, 64, 64)
    padding = torch.zeros(1, 64, 64, dtype=torch.bool)
    padding[:, :, 40:] = True
    # Beyond the reach of the backbone's kernels from the valid part.
    other = frames.clone()
    (source,), laterals = network._encode_frames(frames)
    other_source = source.clone()
    other_source[..., 5:] += 100
    results = []
    for changed in (source, other_source):
        network._encode_frames = lambda _, s=changed: ([s], laterals)
        found = network(other, padding)
        results.append((found.logits, found.boxes))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-5)


def test_objects_of_one_clip_in_another_order_cost_the_same():
    model = build()
    clip = make_clip(num_instances=3)
    swapped = {**clip, "instances": [frame[torch.tensor([2, 0, 1])] for frame in clip["instances"]]}
    one, other = losses_of(model, [clip]), losses_of(model, [swapped])
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-6)


def test_clip_of_wrong_length():
    with pytest.raises(UserError, match=r"3 frames, the model takes 2.*NUM_FRAMES"):
        losses_of(build(), [make_clip(num_frames=3)])


def test_video_alone_equals_video_in_a_batch():
    model = build().eval()
    videos = [make_clip(40, 56, num_frames=5, seed=1), make_clip(32, 64, num_frames=3, seed=2)]
    together = model(videos)
    alone = [model([video])[0] for video in videos]
    assert together == alone
    assert [len(answer["pred_masks"][0]) for answer in together] == [5, 3]
    assert all(
        answer["image_size"] == (v["height"], v["width"]) for answer, v in zip(together, videos)
    )


def test_streaming_equals_the_answer_of_the_whole_video():
    video = make_clip(num_frames=7)
    model = build_with_patterned_masks(video["image"][:2])
    answer = model([video])[0]
    frames = list(model.stream_video(iter(video["image"]), (40, 56)))
    assert len(frames) == 7
    shown = {int(i) for frame in frames for i in frame.track_ids}
    assert shown == set(answer["pred_ids"])
    tracks = dict(zip(answer["pred_ids"], answer["pred_masks"]))
    scores, labels = {}, {}
    for t, frame in enumerate(frames):
        ids = frame.track_ids.tolist()
        codes = dict(zip(ids, encode_masks(frame.pred_masks)))
        for track, masks in tracks.items():
            # A track without a pixel in this frame is not streamed, its RLE is empty.
            if track in codes:
                assert codes[track] == masks[t]
            else:
                assert masks[t] is None or coco_mask.area(masks[t]) == 0
        scores |= dict(zip(ids, frame.scores.tolist()))
        labels |= dict(zip(ids, frame.pred_classes.tolist()))
    # Streamed scores are of the frames up to now; those of a track that stays to the end agree.
    last = frames[-1].track_ids.tolist()
    final = dict(zip(answer["pred_ids"], answer["pred_scores"]))
    assert len(last) > 0
    assert [scores[i] for i in last] == pytest.approx([final[i] for i in last], abs=1e-6)
    assert [labels[i] for i in last] == [
        answer["pred_labels"][answer["pred_ids"].index(i)] for i in last
    ]


@pytest.mark.parametrize("length", [1, 2])
def test_a_video_no_longer_than_a_window_is_one_plain_clip(length):
    """The official procedure: one clip, filled up by repetition, resized masks above zero."""
    video = make_clip(num_frames=length)
    frames = (video["image"] * 2)[:2]
    model = build_with_patterned_masks(frames)
    clip = model.predict_clip(frames)
    answer = model([video])[0]
    masks = F.interpolate(clip.mask_logits, size=(40, 56), mode="bilinear")[:, :length] > 0
    seen = masks.flatten(1).any(1)
    assert answer["pred_masks"] == [encode_masks(slot) for slot in masks[seen]]
    scores = clip.probabilities[:length, seen.numpy()].max(-1).mean(0)
    assert answer["pred_scores"] == pytest.approx(scores.tolist())


def test_low_scores_are_dropped_before_the_mask_branch():
    model = build().eval()
    scores = sorted(model([make_clip()])[0]["pred_scores"])
    assert len(scores) == 5
    seen = []
    masks = model.network.masks
    model.network.masks = lambda encoded, clips, slots: (
        seen.append(len(slots)) or masks(encoded, clips, slots)
    )
    model.score_threshold = scores[2] - 1e-6
    assert sorted(model([make_clip()])[0]["pred_scores"]) == pytest.approx(scores[2:])
    assert seen == [3]
    model.score_threshold = 1.0
    assert model([make_clip()])[0]["pred_scores"] == []


def test_default_predictor_on_one_image(tmp_path):
    cfg = tiny_cfg("MODEL.WEIGHTS", str(tmp_path / "model.pth"))
    torch.save({"model": build_model(cfg).state_dict()}, cfg.MODEL.WEIGHTS)
    image = np.random.default_rng(0).integers(0, 256, (48, 70, 3), dtype=np.uint8)
    instances = DefaultPredictor(cfg)(image)["instances"]
    assert instances.image_size == (48, 70)
    assert instances.pred_masks.shape[1:] == (48, 70)
    fields = set(instances.get_fields())
    assert fields == {"pred_boxes", "scores", "pred_classes", "pred_masks", "track_ids"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_trains_and_stays_near_float32(dtype):
    model = build()
    exact = losses_of(model, [make_clip()])
    with torch.autocast("cpu", dtype):
        mixed = losses_of(model, [make_clip()])
        sum(mixed.values()).backward()
    # Eight bits of mantissa through 30 layers; a float32 step would be 1e-6.
    for name in ("loss_ce", "loss_bbox", "loss_giou"):
        assert mixed[name].dtype == torch.float32
        torch.testing.assert_close(mixed[name], exact[name], rtol=0.1, atol=0.05)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@torch.no_grad()
def test_boxes_keep_float32_under_autocast():
    """bfloat16 would round a coordinate of 0.9 by up to 0.002: one pixel of 500."""
    network = build().network.eval()
    with torch.autocast("cpu", torch.bfloat16):
        found = network(torch.randn(1, 2, 3, 40, 56), None)
    assert found.boxes.dtype == torch.float32


def test_activation_checkpointing_changes_nothing():
    plain, saving = build(), build("MODEL.ACTIVATION_CHECKPOINT", True)
    saving.load_state_dict(plain.state_dict())
    grads = []
    for model in (plain, saving):
        sum(losses_of(model, [make_clip()]).values()).backward()
        grads.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("compile_backend")
def test_compiled_model_equals_the_eager_one():
    """A training step and inference."""
    plain, compiled = build(), build("MODEL.COMPILE", True)
    compiled.load_state_dict(plain.state_dict())
    ours, theirs = losses_of(compiled, [make_clip()]), losses_of(plain, [make_clip()])
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-4)
    sum(ours.values()).backward()
    scores = [m.eval()([make_clip()])[0]["pred_scores"] for m in (compiled, plain)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_overlap_must_fit_the_window():
    with pytest.raises(UserError, match=r"WINDOW_OVERLAP is 2.*between 1 and 1"):
        build("TEST.VIDEO.WINDOW_OVERLAP", 2)

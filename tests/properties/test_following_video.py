"""Frame after frame is the same as the whole video, for any length and size; so is a batch."""

import pytest
import torch
from detectron2.modeling import build_model
from hypothesis import given
from hypothesis import strategies as st

from d2video.formats.geometry.rle import encode_masks
from tests.helpers.property_inputs import frames, seeds, sizes
from tests.projects.DETR import tiny as detr
from tests.projects.IPT import tiny as ipt
from tests.projects.TrackFormer import tiny as trackformer
from tests.projects.VisTR.test_meta_arch import build as build_vistr
from tests.projects.VTN import tiny as vtn
from tests.properties import few

# Sums in another order, float32, values of order 1.
CLOSE = {"rtol": 0, "atol": 1e-5}
lengths = st.integers(1, 5)


def video(size, length, seed):
    return {"image": frames(size, length, seed), "height": size[0], "width": size[1]}


@pytest.fixture(scope="module")
def vistr():
    return build_vistr().eval()


@pytest.fixture(scope="module", params=["detr", "multi_frame"])
def tracker(request):
    return trackformer.build(request.param).eval()


@few
@given(size=sizes, length=lengths, seed=seeds)
@torch.no_grad()
def test_vistr_streamed_equals_offline(vistr, size, length, seed):
    given_video = video(size, length, seed)
    whole = vistr([given_video])[0]
    streamed = list(vistr.stream_video(iter(given_video["image"]), size))
    assert len(streamed) == length
    tracks = dict(zip(whole["pred_ids"], whole["pred_masks"], strict=True))
    for t, answer in enumerate(streamed):
        codes = encode_masks(answer.pred_masks) if len(answer) else []
        shown = dict(zip(answer.track_ids.tolist(), codes, strict=True))
        assert shown == {i: masks[t] for i, masks in tracks.items() if i in shown}
    scores = dict(zip(whole["pred_ids"], whole["pred_scores"], strict=True))
    last = dict(zip(streamed[-1].track_ids.tolist(), streamed[-1].scores.tolist(), strict=True))
    assert last == pytest.approx({i: scores[i] for i in last}, abs=1e-6)


@few
@given(size=sizes, length=lengths, seed=seeds)
@torch.no_grad()
def test_trackformer_streamed_equals_offline(tracker, size, length, seed):
    given_video = video(size, length, seed)
    whole = tracker([given_video])[0]["frames"]
    streamed = list(tracker.stream_video(iter(given_video["image"]), size))
    assert len(whole) == len(streamed) == length
    for ours, other in zip(streamed, whole, strict=True):
        assert torch.equal(ours.track_ids, other.track_ids)
        assert torch.equal(ours.pred_boxes.tensor, other.pred_boxes.tensor)
        assert torch.equal(ours.scores, other.scores)


@few
@given(length=st.integers(1, 9), interval=st.integers(1, 4), seed=seeds)
@torch.no_grad()
def test_vtn_streamed_equals_offline(length, interval, seed):
    model = vtn.build("resnet", f"{vtn.NODE}STREAM_INTERVAL", interval)
    clip = torch.stack(frames((32, 32), length, seed))
    answers = list(model.stream_video(iter(clip), (32, 32)))
    assert len(answers) == length
    # The last answer is renewed in any case.
    whole = model([{"image": clip, "frame_index": torch.arange(length)}])[0]["scores"]
    torch.testing.assert_close(answers[-1]["class_scores"], whole, **CLOSE)


@few
@given(videos=st.lists(st.tuples(sizes, st.integers(1, 3), seeds), min_size=2, max_size=3))
@torch.no_grad()
def test_videos_together_equal_videos_alone(vistr, videos):
    given_videos = [video(*each) for each in videos]
    assert vistr(given_videos) == [vistr([each])[0] for each in given_videos]


@few
@given(videos=st.lists(st.tuples(sizes, st.integers(1, 3), seeds), min_size=2, max_size=2))
@torch.no_grad()
def test_tracked_videos_together_equal_videos_alone(tracker, videos):
    given_videos = [video(*each) for each in videos]
    together = tracker(given_videos)
    for each, answer in zip(given_videos, together, strict=True):
        alone = tracker([each])[0]
        for ours, other in zip(answer["frames"], alone["frames"], strict=True):
            assert torch.equal(ours.pred_boxes.tensor, other.pred_boxes.tensor)
            assert torch.equal(ours.track_ids, other.track_ids)


@few
@given(size=sizes, seed=seeds, count=st.integers(2, 3))
@torch.no_grad()
def test_images_of_a_size_together_equal_images_alone(size, seed, count):
    """Of several sizes the smaller ones are padded, whose border the backbone sees."""
    torch.manual_seed(0)
    model = build_model(detr.tiny_cfg()).eval()
    inputs = [
        {"image": image, "height": size[0], "width": size[1]} for image in frames(size, count, seed)
    ]
    for each, answer in zip(inputs, model(inputs), strict=True):
        alone, together = model([each])[0]["instances"], answer["instances"]
        torch.testing.assert_close(together.scores, alone.scores, **CLOSE)
        # In pixels of an image of some 50 a side.
        torch.testing.assert_close(
            together.pred_boxes.tensor, alone.pred_boxes.tensor, rtol=0, atol=1e-3
        )


@few
@given(lengths=st.lists(st.integers(1, 7), min_size=2, max_size=3), seed=seeds)
@torch.no_grad()
def test_clips_of_any_lengths_have_the_mean_of_their_losses(lengths, seed):
    model = vtn.build()
    model.training = True  # its parts are not: no dropout
    clips = [vtn.make_clip(n, label=k, seed=seed + k) for k, n in enumerate(lengths)]
    together = vtn.losses_of(model, clips)["loss_cls"]
    alone = [vtn.losses_of(model, [clip])["loss_cls"] for clip in clips]
    torch.testing.assert_close(together, torch.stack(alone).mean(), **CLOSE)


@few
@given(sides=st.lists(st.tuples(st.integers(1, 31), st.integers(1, 31)), min_size=1, max_size=3))
@torch.no_grad()
def test_images_of_any_size_are_restored_alone_or_together(sides):
    model = ipt.build()
    inputs = [
        {"image": frames(size, 1, k)[0], "task": ("sr_x2", "derain")[k % 2]}
        for k, size in enumerate(sides)
    ]
    for item, answer in zip(inputs, model(inputs), strict=True):
        scale = 2 if item["task"] == "sr_x2" else 1
        assert answer["restored"].shape == (3, *(scale * side for side in item["image"].shape[1:]))
        torch.testing.assert_close(
            model([item])[0]["restored"], answer["restored"], rtol=0, atol=1e-3
        )

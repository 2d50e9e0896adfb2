"""Frame after frame: the same as the whole video, without anything left over or kept too long."""

import gc

import numpy as np
import pytest
import torch
from detectron2.structures import Instances
from torch import nn

from tests.projects.TrackFormer.tiny import NODE, build, make_frame

SIZE = (80, 112)


def make_video(length: int = 4, seed: int = 0, height: int = 40, width: int = 56) -> list:
    return [make_frame(height, width, [], 0, 100 * seed + t)["image"] for t in range(length)]


def same(ours: Instances, others: Instances) -> bool:
    assert len(ours)
    assert torch.equal(ours.track_ids, others.track_ids)
    return all(
        torch.equal(ours.get(name), others.get(name)) for name in ("scores", "pred_classes")
    ) and torch.equal(ours.pred_boxes.tensor, others.pred_boxes.tensor)


@pytest.fixture(scope="module")
def multi_frame() -> nn.Module:
    return build("multi_frame").eval()


def stream_all(model: nn.Module, video: list) -> list[Instances]:
    return list(model.stream_video(iter(video), SIZE))


@pytest.mark.parametrize("variant", ["multi_frame", "joint_encoder", "merged", "detr_masks"])
def test_stream_equals_the_whole_video(variant):
    model = build(variant).eval()
    video = make_video()
    whole = model([{"image": video, "height": SIZE[0], "width": SIZE[1]}])[0]["frames"]
    streamed = stream_all(model, video)
    assert len(streamed) == len(whole) == 4
    assert all(same(*pair) for pair in zip(streamed, whole))
    assert streamed[0].has("pred_masks") == ("masks" in variant)
    if "masks" in variant:
        masks = streamed[-1].pred_masks
        assert masks.shape == (len(streamed[-1]), *SIZE)
        assert masks.dtype == torch.bool
        assert masks.device.type == "cpu"


def test_a_frame_is_answered_before_the_next_is_taken(multi_frame):
    taken = []

    def frames():
        for t, frame in enumerate(make_video()):
            taken.append(t)
            yield frame

    for t, _ in enumerate(multi_frame.stream_video(frames(), SIZE)):
        assert taken == list(range(t + 1))


def test_streams_do_not_disturb_each_other(multi_frame):
    videos = [make_video(seed=0), make_video(seed=1)]
    alone = [stream_all(multi_frame, video) for video in videos]
    streams = [multi_frame.stream_video(iter(video), SIZE) for video in videos]
    for t in range(4):
        for stream, answers in zip(streams, alone):
            assert same(next(stream), answers[t])
    assert not torch.equal(alone[0][3].scores, alone[1][3].scores)
    # One that was left in the middle leaves nothing behind.
    stream = multi_frame.stream_video(iter(videos[1]), SIZE)
    next(stream)
    next(stream)
    again = stream_all(multi_frame, videos[0])
    assert all(same(*pair) for pair in zip(again, alone[0]))
    # Two videos of one batch are two streams.
    batch = [{"image": video, "height": SIZE[0], "width": SIZE[1]} for video in videos]
    for answer, answers in zip(multi_frame(batch), alone):
        assert all(same(*pair) for pair in zip(answer["frames"], answers))


@pytest.mark.parametrize("variant", ["merged", "three_frames"])
def test_previous_frames(variant):
    """Each frame is projected once and seen again in the next frames; at first the earliest stands in."""
    model = build(variant).eval()
    network, projected, seen = model.network, [], []
    project = network.project
    network.project = lambda features: projected.append(project(features)) or projected[-1]
    network.register_forward_pre_hook(lambda _, inputs: seen.append((inputs[1], inputs[2])))
    stream = model.new_stream(SIZE)
    for t, frame in enumerate(make_video(7)):
        stream.step(frame)
        assert len(projected) == t + 1
        assert len(stream.history) <= network.num_previous

    def number(pyramid) -> int:
        return next(
            t for t, p in enumerate(projected) if torch.equal(p.levels[0], pyramid.levels[0])
        )

    for t, (current, previous) in enumerate(seen):
        steps = range(1, network.num_previous + 1)
        assert number(current) == t
        assert [number(p) for p in previous] == [max(t - step, 0) for step in steps]


@torch.no_grad()
@pytest.mark.parametrize("variant", ["merged", "joint_encoder", "three_frames"])
def test_missing_previous_frames(variant):
    """The current frame, or the earliest there is, stands in."""
    model = build(variant).eval()
    network = model.network
    frames = model.normalize(torch.stack(make_video(2)))
    features = [network.features(frame[None], None) for frame in frames]
    old, new = (network.project(part) for part in features)
    for given, full in (([], [new, new]), ([old], [old, old])):
        ours = network(features[1], new, given, None)
        others = network(features[1], new, full[: network.num_previous], None)
        assert torch.equal(ours.logits, others.logits)
    alone, both = (network(features[1], new, given, None) for given in ([], [old]))
    assert (alone.logits - both.logits).abs().max() > 1e-4


def test_track_queries_are_the_tracks(multi_frame):
    """None for the first frame; then as many as tracks, with what the last frame said of them."""
    asked, said = [], []
    hooks = [
        multi_frame.network.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[3])),
        multi_frame.network.register_forward_hook(lambda _, inputs, output: said.append(output)),
    ]
    found = stream_all(multi_frame, make_video(3))
    for hook in hooks:
        hook.remove()
    assert asked[0] is None
    for t in (1, 2):
        tracks = asked[t]
        assert tracks.padding is None
        assert len(found[t - 1]) == tracks.embeddings.shape[1] > 0
        rows = (said[t - 1].embeddings[0][:, None] == tracks.embeddings[0]).all(-1)
        assert rows.any(0).all()
        boxes = said[t - 1].boxes[-1, 0][rows.int().argmax(0)]
        torch.testing.assert_close(tracks.boxes[0], boxes, rtol=0, atol=1e-6)


def test_no_track_queries_without_tracks():
    model = build("detr_track_attention", f"{NODE}.TRACKER.DETECTION_SCORE_THRESH", 1.0).eval()
    asked = []
    model.network.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[3]))
    assert [len(found) for found in stream_all(model, make_video(3))] == [0, 0, 0]
    assert asked == [None, None, None]


def test_memory_does_not_grow():
    """Tracks come and go with each frame; what is alive afterwards does not become more."""
    model = build(
        *("multi_frame", f"{NODE}.ENC_LAYERS", 0, f"{NODE}.DEC_LAYERS", 1),
        *(f"{NODE}.TRACKER.DETECTION_NMS_THRESH", 0.2, f"{NODE}.TRACKER.TRACK_NMS_THRESH", 0.2),
    ).eval()
    stream = model.new_stream((32, 32))
    video = make_video(10, height=32, width=32)

    def alive() -> int:
        gc.collect()
        return sum(
            isinstance(thing, torch.Tensor) and not isinstance(thing, nn.Parameter)
            for thing in gc.get_objects()
        )

    counts, last = [], []
    for _ in range(3):
        for t in range(30):
            found = stream.step(video[t % 10])
        last.append(int(found.track_ids.max()))
        counts.append(alive())
        elements = sum(level.numel() for pyramid in stream.history for level in pyramid.levels)
    assert counts[0] == counts[1] == counts[2]
    assert elements == sum(level.numel() for level in stream.history[0].levels)
    assert last[2] > last[0]  # new tracks all the time


def test_public_detections():
    """Tracks start where the frame's own list has one."""
    model = build("deformable", f"{NODE}.TRACKER.PUBLIC_DETECTIONS", "min_iou_0_5").eval()
    video = {"image": make_video(2), "height": 80, "width": 112}
    alone = model([video | {"image": video["image"][1]}])[0]["instances"].pred_boxes.tensor
    for places in ([], [1]):
        public = [np.zeros((0, 5), np.float32), alone[places].numpy()]
        answer = model([video | {"public_detections": public}])[0]
        assert [len(found) for found in answer["frames"]] == [0, len(places)]
        torch.testing.assert_close(answer["frames"][1].pred_boxes.tensor, alone[places])

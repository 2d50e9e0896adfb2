"""Several videos through the network in one call: each is answered as by itself."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from detectron2.structures import Instances
from torch import nn

from d2video.inference.side_by_side import SideBySide, in_turns
from tests.helpers.streams import tensors_of
from tests.projects.TrackFormer.tiny import NODE, build, make_frame

# Frames and size of the network's input, and size of the answers.
VIDEOS = [
    (6, (40, 56), (80, 112)),
    (2, (40, 56), (60, 84)),
    (4, (32, 48), (64, 96)),
    (5, (40, 56), (80, 112)),
    (3, (40, 56), (80, 112)),
]
# Tracks end and others start in each frame, so that the videos have different numbers of them.
CHANGING = [
    *(f"{NODE}.TRACKER.DETECTION_NMS_THRESH", 0.3),
    *(f"{NODE}.TRACKER.TRACK_NMS_THRESH", 0.3),
    *(f"{NODE}.TRACKER.INACTIVE_PATIENCE", 2),
]


def frames_of(number: int) -> Iterator[torch.Tensor]:
    length, size, _ = VIDEOS[number]
    return (make_frame(*size, [], 0, 100 * number + t)["image"] for t in range(length))


def answers_side_by_side(model: nn.Module) -> list[list[Instances]]:
    together = SideBySide(model)
    answers: list[list[Instances]] = [[] for _ in VIDEOS]

    def follow(number: int) -> Iterator[None]:
        for answer in together.stream_video(frames_of(number), VIDEOS[number][2]):
            answers[number].append(answer)
            yield

    in_turns(map(follow, range(len(VIDEOS))), together.most)
    return answers


def in_float64(network, inputs: tuple) -> tuple:
    """The tracker's queries, which are float32."""
    *others, tracks = inputs
    if tracks is not None:
        tracks = replace(tracks, embeddings=tracks.embeddings.double())
    return (*others, tracks)


@pytest.mark.parametrize(
    "variant",
    ["deformable", "detr_track_attention", "detr_masks", "three_frames", "merged", "track_links"],
)
def test_answers_are_those_of_each_video_by_itself(variant):
    """With several levels in float64: the last bits of float32 depend on the batch, and the group norm of a
    level of one pixel makes much of them."""
    model = build(variant, *CHANGING, "TEST.VIDEO.BATCH", 4).eval()
    if variant in ("deformable", "merged", "track_links"):
        model.double()
        model.network.register_forward_pre_hook(in_float64)
    alone = [
        [*model.stream_video(frames_of(number), size)] for number, (_, _, size) in enumerate(VIDEOS)
    ]
    asked = []
    model.network.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[1::2]))
    together = answers_side_by_side(model)

    assert max(len(current.levels[0]) for current, _ in asked) == 3
    paddings = [tracks.padding for _, tracks in asked if tracks is not None]
    assert any(padding is not None for padding in paddings), "all have as many tracks"
    for ours, others in zip(together, alone, strict=True):
        for one, other in zip(ours, others, strict=True):
            assert one.image_size == other.image_size
            assert len(one) > 0
            found, expected = tensors_of(one), tensors_of(other)
            assert found.keys() == expected.keys()
            for name, values in expected.items():
                if values.dtype == torch.bool:
                    # Of masks that are nearly equal at a pixel the last bits decide whose it is.
                    assert (found[name] != values).float().mean() < 1e-3
                    continue
                # Batches add up in another order: the last bits, which grow from frame to frame.
                atol = 1e-3 if name == "pred_boxes" else 1e-5  # boxes of about 100 pixels
                torch.testing.assert_close(found[name], values, rtol=0, atol=atol)


def test_a_video_without_tracks_beside_one_with_tracks():
    """A softmax over no track would not be a number."""
    model = build("detr_track_attention", *CHANGING).eval()
    old, new = (model.new_stream((80, 112)) for _ in range(2))
    first, second = [*frames_of(0)][:2]
    old.step(first)
    _, fresh = model.step_together([old, new], [second, first])
    expected = model.new_stream((80, 112)).step(first)
    torch.testing.assert_close(fresh.scores, expected.scores, rtol=1e-4, atol=1e-5)
    assert torch.equal(fresh.track_ids, expected.track_ids)

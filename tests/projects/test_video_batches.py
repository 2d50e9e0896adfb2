"""TEST.VIDEO.BATCH, in every system but TrackFormer: answers as of one frame at a time."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from d2video.inference.predictor import Predictor
from d2video.inference.push_stream import PushStream
from d2video.utils.batches import in_batches
from d2video.video.frame_source import FrameSource, ReadFrame
from tests.helpers.streams import MODELS, frames_of, model_cfg, streaming_model, tensors_of

SIZE = (64, 96)
# Of VTN every answer is renewed, so that each depends on where its frames end; DETR follows objects, too.
CASES = [(*model, ()) for model in MODELS if model[0] != "TrackFormer"]
LINKING = [("NEW_SCORE", 0.0), ("LOW_SCORE", 0.0), ("DUPLICATE", 1.0), ("LEAST_SIMILARITY", 1.7)]
LINK = [x for key, value in LINKING for x in (f"MODEL.DETR.LINKING.{key}", value)]
CASES += [("DETR", 0, ("MODEL.DETR.LINK", True, "MODEL.MASK_ON", True, *LINK))]
CASES += [("VTN", 0, ("MODEL.VTN.STREAM_INTERVAL", 1, "MODEL.VTN.STREAM_MAX_FRAMES", 4))]


class Counted:
    """Frames, of which it counts how many have been asked for."""

    def __init__(self, frames: list[Tensor], one_at_a_time: bool = False):
        self.taken = 0
        self.one_at_a_time = one_at_a_time
        self._frames = iter(frames)

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        frame = next(self._frames)
        self.taken += 1
        return frame


def answers(model, frames) -> list[dict[str, Tensor]]:
    return [tensors_of(answer) for answer in model.stream_video(frames, SIZE)]


def length(system: str, index: int) -> int:
    """Seven frames; of VisTR as many windows, the last of them cut short by the end."""
    cfg = model_cfg(system, index)
    step = cfg.INPUT.CLIP.NUM_FRAMES - min(
        cfg.TEST.VIDEO.WINDOW_OVERLAP, cfg.INPUT.CLIP.NUM_FRAMES - 1
    )
    return cfg.INPUT.CLIP.NUM_FRAMES + 5 * step + 1 if system == "VisTR" else 7


@pytest.mark.parametrize("batch", [3, 20])
@pytest.mark.parametrize(("system", "index", "options"), CASES)
def test_answers_are_those_of_single_frames(system, index, options, batch):
    """At the end, too, where seven frames leave a batch of one."""
    frames = frames_of(length(system, index))
    single = answers(streaming_model(system, index, *options), iter(frames))
    model = streaming_model(system, index, *options, "TEST.VIDEO.BATCH", batch)
    together = answers(model, iter(frames))
    assert len(single) == len(together) == len(frames)
    assert all(values.numel() for values in single[-1].values()), "nothing is found"
    for one, other in zip(single, together, strict=True):
        assert one.keys() == other.keys()
        for name, values in one.items():
            if values.dtype == torch.bool:
                # Linked masks do not overlap, and those of random weights are so alike that the last bits
                # decide whose a pixel is.
                assert (other[name] != values).float().mean() < 0.03, name
                continue
            # Convolutions and matrix products of other sizes add up in another order: the last bits, of
            # boxes of 96 pixels and of restored pixels up to 800.
            torch.testing.assert_close(other[name], values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("system", ["DETR", "IPT", "VTN"])
def test_the_network_sees_several_frames_at_once(system):
    model = streaming_model(
        system,
        0,
        "TEST.VIDEO.BATCH",
        3,
        "MODEL.VTN.STREAM_INTERVAL",
        1,
        "MODEL.VTN.STREAM_STRIDE",
        1,
    )
    seen = []
    part = model.network if system in ("DETR", "IPT") else model.frame_encoder
    part.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    answers(model, iter(frames_of(7)))
    patches = 1 if system != "IPT" else seen[-1]
    assert [count // patches for count in seen] == [3, 3, 1]


def test_vistr_sees_several_windows_at_once():
    model = streaming_model("VisTR", 0, "TEST.VIDEO.BATCH", 4)
    seen = []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    answers(model, iter(frames_of(length("VisTR", 0))))
    assert seen == [4, 3]


@pytest.mark.parametrize("system", ["DETR", "IPT", "VTN"])
def test_no_more_frames_are_held_than_a_batch(system):
    model = streaming_model(system, 0, "TEST.VIDEO.BATCH", 3)
    frames = Counted(frames_of(10))
    for number, _ in enumerate(model.stream_video(frames, SIZE), 1):
        # VTN reads a batch ahead to know the end of the video.
        assert frames.taken - number <= (2 * 3 if system == "VTN" else 3)


@pytest.mark.parametrize("system", ["DETR", "IPT", "VTN"])
def test_frames_that_come_one_at_a_time_are_not_waited_for(system):
    frames = frames_of(4)
    model = streaming_model(system, 0, "TEST.VIDEO.BATCH", 3)
    live = Counted(frames, one_at_a_time=True)
    for number, _ in enumerate(model.stream_video(live, SIZE), 1):
        assert live.taken == number
    stream = PushStream(model, SIZE)
    with torch.no_grad():
        for frame in frames:
            stream.push(frame)


@pytest.mark.parametrize("is_live", [True, False])
def test_a_camera_is_not_waited_for(is_live):
    pictures = [frame.permute(1, 2, 0).numpy() for frame in frames_of(6)]

    class Camera(FrameSource):
        name, fps, size, estimated_length, taken = "camera", 25.0, pictures[0].shape[:2], None, 0

        def _read(self) -> Iterator[ReadFrame]:
            for picture in pictures:
                self.taken += 1
                yield ReadFrame(picture)

    camera = Camera()
    camera.is_live = is_live
    model = streaming_model("DETR", 0, "TEST.VIDEO.BATCH", 3)
    predictor = Predictor(model=model, min_size=0, max_size=0)
    taken = [camera.taken for _ in predictor(camera)]
    assert taken == ([1, 2, 3, 4, 5, 6] if is_live else [3, 3, 3, 6, 6, 6])


def test_windows_that_come_one_at_a_time_are_not_waited_for():
    model = streaming_model("VisTR", 0, "TEST.VIDEO.BATCH", 3)
    window = model.network.num_frames
    live = Counted(frames_of(2 * window), one_at_a_time=True)
    next(model.stream_video(live, SIZE))
    assert live.taken == window


def test_batches():
    assert [*in_batches(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [*in_batches([], 3)] == []

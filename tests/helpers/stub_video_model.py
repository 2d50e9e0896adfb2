"""A stand-in for a video model: follows bright pixels, with the lag of a windowed model."""

import gc
import weakref
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import BitMasks, Instances
from torch import Tensor, nn

from d2video.inference.push_stream import PushStream
from d2video.inference.tasks import ClassificationTask, RestorationTask, Task, TrackingTask


class StubVideoModel(nn.Module):
    """Answers in blocks of ``window`` frames; one instance, the pixels brighter than 200.

    Attributes:
        most_alive: greatest number of input frames alive at once.
        sizes: sizes of the frames received.
        grad_enabled: whether autograd was on in any call.
    """

    task: Task = TrackingTask()

    def __init__(self, window: int = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.window = window
        self.most_alive = 0
        self.sizes: set[tuple[int, ...]] = set()
        self.first_pixels: list[list[int]] = []
        self.grad_enabled = False

    def stream_video(
        self, frames: Iterator[Tensor], output_size: tuple[int, int]
    ) -> Iterator[Instances]:
        alive: list[weakref.ref] = []
        block: list[Tensor] = []
        for frame in frames:
            assert frame.dtype == torch.uint8
            self.grad_enabled |= (self.weight * 1).requires_grad
            self.sizes.add(tuple(frame.shape))
            self.first_pixels.append(frame[:, 0, 0].tolist())
            alive = [ref for ref in [*alive, weakref.ref(frame)] if ref() is not None]
            self.most_alive = max(self.most_alive, len(alive))
            block.append(frame)
            if len(block) == self.window:
                yield from self._answer(block, output_size)
                block.clear()
        yield from self._answer(block, output_size)

    def _answer(self, block: list[Tensor], size: tuple[int, int]) -> Iterator[Instances]:
        for frame in block:
            mask = F.interpolate(frame[None].float(), size)[0].amin(0)[None] > 200
            yield Instances(
                size,
                pred_masks=mask,
                pred_boxes=BitMasks(mask).get_bounding_boxes(),
                scores=torch.tensor([0.9]),
                pred_classes=torch.tensor([0]),
                track_ids=torch.tensor([5]),
            )
        gc.collect(0)


@META_ARCH_REGISTRY.register()
class StubFromConfig(StubVideoModel):
    """The same, built by ``build_model(cfg)``."""

    def __init__(self, cfg) -> None:
        super().__init__(window=cfg.INPUT.CLIP.NUM_FRAMES)


@META_ARCH_REGISTRY.register()
class StubTracker(StubVideoModel):
    """Answers each frame at once, by a box without a mask; a square that jumps gets another id."""

    def __init__(self, cfg=None) -> None:
        super().__init__(window=1)

    def stream_video(
        self, frames: Iterator[Tensor], output_size: tuple[int, int]
    ) -> Iterator[Instances]:
        last, track_id = None, -1
        for answer in super().stream_video(frames, output_size):
            left = answer.pred_boxes.tensor[0, 0].item()
            track_id += last is None or abs(left - last) > 8
            last = left
            answer.remove("pred_masks")
            answer.track_ids = torch.tensor([track_id])
            yield answer


@META_ARCH_REGISTRY.register()
class StubStepper(StubTracker):
    """:class:`StubTracker` of several videos in one call.

    Attributes:
        calls: the number of frames of each call, of all models.
    """

    calls: list[int] = []

    def __init__(self, cfg) -> None:
        super().__init__(cfg)
        self.video_batch = cfg.TEST.VIDEO.BATCH

    def new_stream(self, output_size: tuple[int, int]) -> PushStream:
        return PushStream(self, output_size)

    def step_together(self, streams: list[PushStream], frames: list[Tensor]) -> list[Instances]:
        self.calls.append(len(frames))
        return [stream.push(frame) for stream, frame in zip(streams, frames, strict=True)]


@META_ARCH_REGISTRY.register()
class StubClassifier(nn.Module):
    """Classifies: 0 "dark", 1 "bright" by the mean over the frames so far, 2 and 3 never; renews its
    answer every second frame and after the last one, for which it looks one frame ahead."""

    task = ClassificationTask()

    def __init__(self, cfg=None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def stream_video(
        self, frames: Iterator[Tensor], output_size: tuple[int, int]
    ) -> Iterator[dict[str, Tensor]]:
        total, count, scores = 0.0, 0, torch.empty(0)
        eager = getattr(frames, "one_at_a_time", False)
        frame = next(frames, None)
        while frame is not None:
            total, count = total + frame.float().mean().item() / 255, count + 1
            frame = None if eager else next(frames, None)
            if count % 2 or (frame is None and not eager):
                bright = total / count
                scores = torch.tensor([1 - bright, bright, 0, 0])
            yield {"class_scores": scores}
            if eager:
                frame = next(frames, None)


@META_ARCH_REGISTRY.register()
class StubRestorer(nn.Module):
    """Twice the size, and negative."""

    task = RestorationTask()

    def __init__(self, cfg=None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def stream_video(
        self, frames: Iterator[Tensor], output_size: tuple[int, int]
    ) -> Iterator[dict[str, Tensor]]:
        for frame in frames:
            assert tuple(frame.shape[1:]) == output_size, "resized"
            # Neither in range nor whole.
            negative = 256.3 - frame.float()
            yield {"restored": negative.repeat_interleave(2, -1).repeat_interleave(2, -2)}

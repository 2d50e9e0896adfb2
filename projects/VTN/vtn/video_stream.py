"""VTN on a video whose frames come one after the other.

Shapes: K: classes, C: width of the features, h×w: a frame.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from d2video.utils.errors import UserError


class VideoStream:
    """What the model remembers of a video: features of frames that are evenly spread over it.

    Args:
        encode: frames (3, h, w) and their numbers (F,) to features (F, C).
        classify: features (1, F, C) and frame numbers (1, F) to class logits (1, K).
        interval: frames after which the answer is renewed, at least 1.
        stride: use every N-th frame.
        max_frames: features kept at most, at least 2. When there would be more, every other one is
            dropped and the stride doubles.
        crop: side of the square that is cut from the middle of each frame; 0: none.
    """

    def __init__(
        self,
        encode: Callable[[Sequence[Tensor], Tensor], Tensor],
        classify: Callable[[Tensor, Tensor], Tensor],
        *,
        interval: int,
        stride: int,
        max_frames: int,
        crop: int,
    ):
        self.encode = encode
        self.classify = classify
        self.crop = crop
        self.interval = interval
        self.stride = stride
        self.max_frames = max_frames
        self.count = 0
        self._index: list[int] = []  # frame numbers of the features, then of the waiting frames
        self._features = torch.empty(0)
        self._waiting: list[Tensor] = []  # used frames that have not gone through the backbone
        self._scores = torch.empty(0)

    def follow(self, frames: Iterator[Tensor]) -> Iterator[Tensor]:
        """
        Args:
            frames: (3, h, w) uint8. From an iterator with an attribute ``one_at_a_time`` that is
                true, none is asked for before the last one is answered.

        Yields:
            (K,) probabilities, for each frame: of what has been seen when they were last renewed,
            after the first frame, every ``interval`` frames, and after the last one (which a source
            that gives one frame at a time does not tell).
        """
        if self.interval == 1 or getattr(frames, "one_at_a_time", False):
            for frame in frames:
                self._take(frame)
                yield self._renewed() if self._is_due() else self._scores
            return
        frames = iter(frames)
        ahead = next(frames, None)
        while ahead is not None:
            self._take(ahead)
            ahead = next(frames, None)
            yield self._renewed() if self._is_due() or ahead is None else self._scores

    def _take(self, frame: Tensor) -> None:
        if self.count % self.stride == 0:
            self._index.append(self.count)
            self._waiting.append(self._cropped(frame))
            if len(self._index) > self.max_frames:
                self._thin_out()
        self.count += 1

    def _is_due(self) -> bool:
        return self.count == 1 or self.count % self.interval == 0

    def _thin_out(self) -> None:
        """Keep every other frame, from the first; those that wait are spared the backbone."""
        done = len(self._features)
        self._waiting = self._waiting[done % 2 :: 2]
        self._features = self._features[::2]
        self._index = self._index[::2]
        self.stride *= 2

    @torch.no_grad()
    def _renewed(self) -> Tensor:
        if self._waiting:
            index = torch.tensor(self._index)
            fresh = index[len(self._features) :]
            features = self.encode(self._waiting, fresh)
            self._features = torch.cat([self._features.to(features), features])
            self._waiting = []
            logits = self.classify(self._features[None], index[None])
            self._scores = logits[0].float().softmax(-1).cpu()
        return self._scores

    def _cropped(self, frame: Tensor) -> Tensor:
        """The middle of a frame (3, h, w), with memory of its own."""
        side = self.crop
        if not side:
            return frame
        if min(frame.shape[-2:]) < side:
            raise UserError(
                f"a frame of {frame.shape[-1]}x{frame.shape[-2]} pixels is smaller than the crop of "
                f"{side}: lower INPUT.CLASSIFICATION.CROP_SIZE_TEST or raise INPUT.MIN_SIZE_TEST"
            )
        top, left = (round((size - side) / 2) for size in frame.shape[-2:])  # as SpacedCrop rounds
        return frame[:, top : top + side, left : left + side].clone()

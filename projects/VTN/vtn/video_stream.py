"""VTN on a video whose frames come one after the other. Exported models use it without torch.

Shapes: K: classes, C: width of the features, h×w: a frame.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from d2video.utils.batches import comes_one_at_a_time, in_batches
from d2video.utils.errors import UserError


class VideoStream:
    """What the model remembers of a video: features of frames that are evenly spread over it.

    Frames, features and probabilities are tensors or numpy arrays, as ``encode`` and ``classify`` take them.

    Args:
        encode: F frames (3, h, w) and their numbers to F features (C,).
        classify: F features and the numbers of their frames to class probabilities (K,).
        interval: frames after which the answer is renewed, at least 1.
        stride: use every N-th frame.
        max_frames: features kept at most, at least 2. When there would be more, every other one is
            dropped and the stride doubles.
        crop: side of the square that is cut from the middle of each frame; 0: none.
        batch: frames that are read at once, at least 1. When the answer is renewed, all that have been read
            go through the backbone together: those since the last renewal, and those of the batch.
    """

    def __init__(
        self,
        encode: Callable[[list[Any], list[int]], Iterable[Any]],
        classify: Callable[[list[Any], list[int]], Any],
        *,
        interval: int,
        stride: int,
        max_frames: int,
        crop: int,
        batch: int = 1,
    ):
        self.encode = encode
        self.classify = classify
        self.crop = crop
        self.interval = interval
        self.stride = stride
        self.max_frames = max_frames
        self.batch = batch
        self.count = 0
        # By frame number, all of them multiples of the stride.
        self._features: dict[int, Any] = {}
        self._waiting: dict[int, Any] = {}  # frames that have not gone through the backbone
        self._newest = -1  # of the frames that the last answer was made of
        self._scores: Any = None

    def follow(self, frames: Iterator[Any]) -> Iterator[Any]:
        """
        Args:
            frames: (3, h, w) uint8. If they come one at a time
                (:func:`~d2video.utils.batches.comes_one_at_a_time`), none is asked for before the last
                one is answered.

        Yields:
            (K,) probabilities, for each frame: of what has been seen when they were last renewed,
            after the first frame, every ``interval`` frames, and after the last one (which a source
            that gives one frame at a time does not tell).
        """
        has_known_end = self.interval > 1 and not comes_one_at_a_time(frames)
        batches = in_batches(frames, self.batch)
        batch = next(batches, [])
        while batch:
            for number, frame in enumerate(batch, self.count):
                if number % self.stride == 0:
                    self._waiting[number] = self._cropped(frame)
            # Before the last frame is answered: whether it is the last one of the video.
            ahead = next(batches, []) if has_known_end else []
            end = self.count + len(batch)
            is_last = has_known_end and not ahead
            while self.count < end:
                self.count += 1
                self._thin_out()
                renews = self._is_due() or (is_last and self.count == end)
                yield self._renewed() if renews else self._scores
            batch = ahead or next(batches, [])

    def _is_due(self) -> bool:
        return self.count == 1 or self.count % self.interval == 0

    def _used(self) -> range:
        """The numbers of the frames that the answer is made of."""
        return range(0, self.count, self.stride)

    def _thin_out(self) -> None:
        """Keep every other frame, from the first, if there are too many; those that wait are spared the
        backbone."""
        if len(self._used()) > self.max_frames:
            self.stride *= 2
            for kept in (self._features, self._waiting):
                for number in [number for number in kept if number % self.stride]:
                    del kept[number]

    def _renewed(self) -> Any:
        used = self._used()
        if used[-1] > self._newest:
            self._newest = used[-1]
            if self._newest in self._waiting:
                features = self.encode([*self._waiting.values()], [*self._waiting])
                self._features.update(zip(self._waiting, features, strict=True))
                self._waiting.clear()
            self._scores = self.classify([self._features[number] for number in used], [*used])
        return self._scores

    def _cropped(self, frame: Any) -> Any:
        """The middle of a frame (3, h, w)."""
        side = self.crop
        if not side:
            return frame
        if min(frame.shape[-2:]) < side:
            raise UserError(
                f"a frame of {frame.shape[-1]}x{frame.shape[-2]} pixels is smaller than the crop of "
                f"{side}: lower INPUT.CLASSIFICATION.CROP_SIZE_TEST or raise INPUT.MIN_SIZE_TEST"
            )
        top, left = (round((size - side) / 2) for size in frame.shape[-2:])  # as SpacedCrop rounds
        return frame[:, top : top + side, left : left + side]

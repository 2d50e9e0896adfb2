"""Frames pushed into a model's ``stream_video`` one at a time, each for its answer."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from d2video.inference.tasks.task import StreamingModel
from d2video.utils.errors import UserError


class PushStream:
    """One video whose frames come one at a time. It ends with the first exception.

    Args:
        model: see docs/extend/architecture.md, "Streaming".
        output_size: (H, W) of the answers.

    Attributes:
        count: frames answered.
    """

    def __init__(self, model: StreamingModel, output_size: tuple[int, int]) -> None:
        self.output_size = output_size
        self.count = 0
        self._frames = _PushedFrames(type(model).__name__)
        self._answers = iter(model.stream_video(self._frames, output_size=output_size))

    def push(self, frame: Tensor) -> Any:
        """The answer to a frame, uint8 (3,h,w), resized for the model.

        Raises:
            UserError: the model answers a frame only after it has seen later ones.
        """
        self._frames.given.append(frame)
        answer = next(self._answers, None)
        assert answer is not None, "stream_video ended before its frames"
        assert not self._frames.given, "stream_video answered a frame before it took it"
        self.count += 1
        return answer

    def close(self) -> None:
        """End the model's generator."""
        if hasattr(self._answers, "close"):
            self._answers.close()


class _PushedFrames(Iterator[Tensor]):
    """The frames as the model sees them: at most one is there."""

    one_at_a_time = True  # a model must not look a frame ahead

    def __init__(self, model_name: str):
        self.given: deque[Tensor] = deque()
        self._model_name = model_name

    def __next__(self) -> Tensor:
        if not self.given:
            raise UserError(
                f"{self._model_name} answers a frame only after it has seen later ones, so it "
                "cannot take one frame at a time: give predictor(...) the whole video"
            )
        return self.given.popleft()

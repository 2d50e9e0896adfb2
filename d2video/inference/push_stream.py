"""A model's ``stream_video`` turned round: one frame in, its answer out."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from d2video.inference.tasks.task import StreamingModel
from d2video.utils.errors import UserError


class PushStream:
    """One video that a model follows, for those who have its frames one at a time.

    The model's own iterator holds the state of the video. After an exception it is over.

    Attributes:
        count: frames answered.
    """

    def __init__(
        self, model: StreamingModel, output_size: tuple[int, int], *, start: float = 0.0
    ) -> None:
        """
        Args:
            model: see docs/architecture.md, "Streaming".
            output_size: (H, W) of the answers.
            start: when the video began, by any clock; kept for the caller.
        """
        self.output_size = output_size
        self.start = start
        self.count = 0
        self._model_name = type(model).__name__
        self._given: deque[Tensor] = deque()
        frames = _PushedFrames(self._given, self._model_name)
        self._answers = iter(model.stream_video(frames, output_size=output_size))

    def push(self, frame: Tensor) -> Any:
        """The answer to a frame, uint8 (3,h,w), resized for the model.

        Raises:
            UserError: the model answers a frame only after it has seen later ones.
        """
        self._given.append(frame)
        answer = next(self._answers, None)
        assert answer is not None, "stream_video ended before its frames"
        assert not self._given, "stream_video answered a frame before it took it"
        self.count += 1
        return answer

    def close(self) -> None:
        """Let the model clear up."""
        if hasattr(self._answers, "close"):
            self._answers.close()


class _PushedFrames(Iterator[Tensor]):
    """The frames as the model sees them.

    Attributes:
        one_at_a_time: true: a model that would like to see a frame ahead must do without.
    """

    one_at_a_time = True

    def __init__(self, given: deque[Tensor], model_name: str):
        self._given = given
        self._model_name = model_name

    def __next__(self) -> Tensor:
        # Empty when the model asks for the next frame before it has answered the last one.
        if not self._given:
            raise UserError(
                f"{self._model_name} answers a frame only after it has seen later ones, so it "
                "cannot take one frame at a time: give predictor(...) the whole video"
            )
        return self._given.popleft()

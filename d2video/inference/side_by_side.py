"""TEST.VIDEO.BATCH of models that need the answer to a frame for the next one: several videos at once."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from d2video.utils.errors import UserError

VIDEO_FAILURES = (UserError, torch.OutOfMemoryError)
"""What ends one video, while others go on."""

_END: Any = object()


@runtime_checkable
class SteppingModel(Protocol):
    """A streaming model that follows several videos in one call.

    Attributes:
        video_batch: TEST.VIDEO.BATCH, the most videos of a call.
    """

    video_batch: int

    def new_stream(self, output_size: tuple[int, int]) -> Any:
        """What the model remembers of one video, with answers of ``output_size`` (H, W)."""

    def step_together(self, streams: list[Any], frames: list[Tensor]) -> list[Any]:
        """The answers of ``stream_video`` to the next frame, uint8 (3,h,w) of one size, of each video."""


@dataclass(eq=False)
class _Video:
    state: Any  # the model's
    frames: Iterator[Tensor]
    outcome: Any = None  # an answer, an exception or _END; None: a frame has to be taken


class SideBySide:
    """Videos whose answers are asked for in turns, through a model in one call for all.

    The first video that is asked for an answer and has none takes a frame of every video without an
    answer. Those of one size make one call. The others find their answers ready: memory holds one a video.
    What fails is the video whose frame cannot be read; where the call finds no room, all videos of it.

    Args:
        model: in evaluation mode.
    """

    def __init__(self, model: SteppingModel) -> None:
        self._model = model
        self._open: list[_Video] = []

    @property
    def most(self) -> int:
        """Videos that should be open at once, at most."""
        return self._model.video_batch

    def stream_video(self, frames: Iterable[Tensor], output_size: tuple[int, int]) -> Iterator[Any]:
        """One of the videos, as a model's ``stream_video``. It may be left early."""
        video = _Video(self._model.new_stream(output_size), iter(frames))
        self._open.append(video)
        try:
            while (outcome := self._outcome(video)) is not _END:
                if isinstance(outcome, Exception):
                    raise outcome
                yield outcome
                del outcome  # not kept while the next one is worked out
        finally:
            self._open.remove(video)

    def _outcome(self, video: _Video) -> Any:
        if video.outcome is None:
            self._step()
        outcome, video.outcome = video.outcome, None
        return outcome

    def _step(self) -> None:
        """Take a frame of each video that waits for an outcome, and answer them."""
        taken: dict[torch.Size, list[tuple[_Video, Tensor]]] = defaultdict(list)
        for video in self._open:
            if video.outcome is not None:
                continue
            try:
                frame = next(video.frames, _END)
            except VIDEO_FAILURES as error:
                video.outcome = error
                continue
            if frame is _END:
                video.outcome = _END
            else:
                taken[frame.shape].append((video, frame))
        for pairs in taken.values():
            videos, frames = (list(column) for column in zip(*pairs, strict=True))
            try:
                answers = self._model.step_together([video.state for video in videos], frames)
            except VIDEO_FAILURES as error:
                # Its traceback would keep the tensors of the call.
                answers = [error.with_traceback(None)] * len(videos)
            for video, answer in zip(videos, answers, strict=True):
                video.outcome = answer


def in_turns(works: Iterable[Iterator[object]], most: int) -> None:
    """Run generators to their ends, at most ``most`` at once, each to its next ``yield`` in turn.

    The next one is taken when one has ended. After an exception those that are open are closed.
    """
    waiting = iter(works)
    running: deque[Any] = deque()
    try:
        running.extend(islice(waiting, most))
        while running:
            if next(running[0], _END) is _END:
                running.popleft()
                running.extend(islice(waiting, 1))
            else:
                running.rotate(-1)
    finally:
        for work in running:
            work.close()

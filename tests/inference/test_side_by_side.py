"""Videos in turns: who is asked when, and what one of them does to the others."""

import gc
import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from d2video.inference.side_by_side import SideBySide, in_turns
from d2video.utils.errors import UserError

SIZE = (8, 8)


class Adder:
    """Answers with the sum of a video's frames so far."""

    video_batch = 3

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.room = 99

    def new_stream(self, output_size: tuple[int, int]) -> list[float]:
        assert output_size == SIZE
        return []

    def step_together(self, streams: list[list[float]], frames: list[Tensor]) -> list[float]:
        assert len({frame.shape for frame in frames}) == 1
        self.calls.append(len(frames))
        if len(frames) > self.room:
            self.room = 99
            raise torch.OutOfMemoryError("CUDA out of memory")
        for seen, frame in zip(streams, frames, strict=True):
            seen.append(float(frame.sum()))
        return [sum(seen) for seen in streams]


def video(length: int, start: int = 0, width: int = 1, broken: bool = False) -> Iterator[Tensor]:
    for value in range(start, start + length):
        frame = torch.zeros(3, 1, width)
        frame[0, 0, 0] = value
        yield frame
    if broken:
        raise UserError("broken")


def run(model: Adder, videos: list[Iterator[Tensor]]) -> list[list[object]]:
    """The answers to each, the last of which may be an error."""
    together = SideBySide(model)
    answers: list[list[object]] = [[] for _ in videos]

    def follow(number: int) -> Iterator[None]:
        try:
            for answer in together.stream_video(videos[number], SIZE):
                answers[number].append(answer)
                yield
        except (UserError, torch.OutOfMemoryError) as error:
            answers[number].append(type(error))

    in_turns(map(follow, range(len(videos))), together.most)
    assert not together._open
    return answers


def sums(length: int, start: int = 0) -> list[float]:
    return [float(sum(range(start, start + n + 1))) for n in range(length)]


def test_one_call_a_round():
    model = Adder()
    assert run(model, [video(6, 10 * number) for number in range(3)]) == [
        sums(6, 10 * number) for number in range(3)
    ]
    # They begin one after the other; then there is one call for all.
    assert model.calls == [1, 2, 2, 3, 3, 3, 3, 1]


def test_a_video_that_ends_makes_room_for_the_next():
    model, lengths = Adder(), [9, 30, 20, 17, 24, 15, 20, 12]
    answers = run(model, [video(length, 100 * i) for i, length in enumerate(lengths)])
    assert answers == [sums(length, 100 * i) for i, length in enumerate(lengths)]
    assert sum(model.calls) == sum(lengths)
    assert max(model.calls) == 3
    assert len(model.calls) < 0.42 * sum(lengths)  # a third, but for beginnings and ends


def test_other_sizes_make_calls_of_their_own():
    model = Adder()
    answers = run(model, [video(3), video(3, width=2), video(3)])
    assert answers == [sums(3)] * 3
    assert set(model.calls) == {1, 2}


def test_a_broken_video_does_not_stop_the_others():
    answers = run(
        Adder(), [video(4), video(2, broken=True), video(4), video(0, broken=True), video(3)]
    )
    assert answers == [sums(4), [*sums(2), UserError], sums(4), [UserError], sums(3)]


def test_videos_of_a_call_without_room_fail_and_the_next_ones_go_on():
    model = Adder()
    model.room = 2
    answers = run(model, [video(4), video(4), video(4), video(3), video(2)])
    assert [each[-1] for each in answers[:3]] == [torch.OutOfMemoryError] * 3
    assert answers[3:] == [sums(3), sums(2)]


def test_a_fault_of_the_program_is_raised_and_closes_all():
    closed = []

    def work(number: int) -> Iterator[None]:
        try:
            yield
            if number == 1:
                raise KeyError
            yield
        finally:
            closed.append(number)

    with pytest.raises(KeyError):
        in_turns(map(work, range(4)), 3)
    assert sorted(closed) == [0, 1, 2]


def test_a_video_left_early_is_forgotten_and_one_answer_waits_at_most():
    together = SideBySide(Adder())
    taken, alive = [0, 0], []

    def counted(number: int) -> Iterator[Tensor]:
        for frame in video(9):
            taken[number] += 1
            alive.append(weakref.ref(frame))
            yield frame

    streams = [together.stream_video(counted(number), SIZE) for number in range(2)]
    next(streams[0])
    next(streams[1])
    for _ in range(3):
        next(streams[1])
    assert taken == [2, 4], "the first video has an answer that nobody has asked for"
    gc.collect()
    assert sum(ref() is not None for ref in alive) <= 2  # the generators' own
    streams[0].close()
    next(streams[1])
    assert taken == [2, 5]

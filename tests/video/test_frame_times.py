"""Times of frames in files whose time stamps are odd."""

from fractions import Fraction
from types import SimpleNamespace

import pytest

from d2video.video.frame_times import FrameTimes


def times(stamps, by_decoding=None, name="mpegts") -> list[float]:
    container = SimpleNamespace(format=SimpleNamespace(name=name))
    clock = FrameTimes(container, fps=10)
    decoding = stamps if by_decoding is None else by_decoding
    frames = [
        SimpleNamespace(pts=pts, dts=dts, time_base=Fraction(1, 10), duration=1)
        for pts, dts in zip(stamps, decoding, strict=True)
    ]
    return [round(10 * clock.of(frame)[0], 6) for frame in frames]


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([0, 1, 5, 6], [0, 1, 5, 6]),
        ([70, 71, 75], [0, 1, 5]),  # an offset
        ([-3, -2, 1], [0, 1, 4]),
        ([None] * 3, [0, 1, 2]),  # bare streams
        ([0, None, 2, None, None, 9], [0, 1, 2, 3, 4, 9]),
        ([None, 1, 2], [0, 1, 2]),
        ([0, 1, 1, 3], [0, 1, 2, 3]),  # repeated
        ([0, 4, 3, 7], [0, 4, 5, 7]),  # back a little
        ([90, 91, 92, 0, 1, 5], [0, 1, 2, 3, 4, 8]),  # joined recordings
        ([0, 50, 0, 1], [0, 50, 51, 52]),
    ],
)
def test_times_ascend_from_zero(stamps, expected):
    assert times(stamps) == expected


def test_avi_has_times_of_decoding_only():
    shown, decoded = [1, 2, 4, 3, 5], [1, 2, 3, 6, None]  # with a frame left out
    assert times(shown, decoded, name="avi") == [0, 1, 2, 5, 6]

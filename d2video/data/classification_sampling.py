"""Which frames of a video make up a clip of classification: pure functions on frame numbers.

Lengths are in frames of the video's own rate: a clip of 5.12 s is 128 frames at 25 frames a second
and 153.6 at 30, so that clips of all videos last equally long. (VTN's official code does the same
with NUM_FRAMES 16, SAMPLING_RATE 8 and TARGET_FPS 25.)
"""

import numpy as np


def spaced_frames(length: float, num_frames: int) -> np.ndarray:
    """``num_frames`` evenly spaced frame numbers from 0 to ``length`` - 1, rounded down.

    One frame is the middle one.

    Args:
        length: of the clip, in frames of the video; need not be whole.
        num_frames: at least 1.

    Returns:
        int64 (num_frames,), ascending; with repetitions where ``length`` < ``num_frames``.
    """
    assert num_frames >= 1, num_frames
    last = max(length - 1, 0.0)
    if num_frames == 1:
        return np.array([last / 2], dtype=np.int64)
    # 5.12 * 25 is a little more or less than 128.
    return np.floor(np.linspace(0, last, num_frames) + 1e-6).astype(np.int64)


def training_frames(
    video_frames: int, fps: float, seconds: float, num_frames: int, rng: np.random.Generator
) -> np.ndarray:
    """A clip of a random beginning.

    A video that is shorter than the clip keeps the distance of the frames and repeats its last one.

    Args:
        video_frames, fps: of the video, at least 1 frame.
        seconds: length of the clip; 0: the whole video.
        num_frames: frames in the clip.
        rng: source of the draw.

    Returns:
        int64 (num_frames,), frame numbers of 0..video_frames-1, ascending.
    """
    length = seconds * fps if seconds else video_frames
    free = max(int(np.floor(video_frames - length + 1e-6)), 0)
    start = int(rng.integers(free, endpoint=True))
    return np.minimum(start + spaced_frames(length, num_frames), video_frames - 1)


def evaluation_frames(
    video_frames: int,
    fps: float,
    seconds: float,
    num_frames: int,
    num_views: int = 1,
) -> list[np.ndarray]:
    """The clips of an evaluation; nothing is random.

    A video that is shorter than the clip is a shorter clip of as many frames, repeated evenly where
    it has fewer (as the official evaluation of full videos).

    Args:
        video_frames, fps: of the video, at least 1 frame.
        seconds: length of a clip; 0: the whole video.
        num_frames: frames in a clip; 0: every frame of it.
        num_views: clips, evenly spread from the beginning to the end of the video; a single one is
            at the beginning.

    Returns:
        For each clip int64 (num_frames,), frame numbers of 0..video_frames-1, ascending.
    """
    length = min(seconds * fps, video_frames) if seconds else video_frames
    free = max(int(np.floor(video_frames - length + 1e-6)), 0)
    starts = np.linspace(0, free, num_views).astype(np.int64)
    spaced = spaced_frames(length, num_frames or max(round(length), 1))
    return [np.minimum(first + spaced, video_frames - 1) for first in starts]

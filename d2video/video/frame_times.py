"""When the frames of a video file are shown."""

import av

# Seconds. Times that go back further restart the clock: joined recordings.
_NEW_START = 1.0


class FrameTimes:
    """Seconds since the first frame, ascending, for the frames of a file as they are decoded.

    A frame that has no time, or not a later one than the frame before, comes an average frame after
    it.

    Args:
        container: of the file.
        fps: frames a second, on average.
    """

    def __init__(self, container: "av.container.InputContainer", fps: float) -> None:
        # AVI states only the times of decoding, which FFmpeg takes for those of showing.
        self._is_by_decoding = container.format.name == "avi"
        self._step = 1 / fps
        self._start = 0.0  # of the file's own times
        self._last: float | None = None

    def of(self, frame: "av.VideoFrame") -> tuple[float, float | None]:
        """Time and duration of the next frame, in seconds; ``None`` if the file states no duration."""
        stamp = frame.dts if self._is_by_decoding else frame.pts
        unit = float(frame.time_base or 0)
        own = None if stamp is None else stamp * unit
        if self._last is None:
            self._start, time = own or 0.0, 0.0
        else:
            following = self._last + self._step
            if own is not None and own - self._start < self._last - _NEW_START:
                self._start = own - following
            time = following if own is None else own - self._start
            if time <= self._last:
                time = following
        self._last = time
        return time, frame.duration * unit or None

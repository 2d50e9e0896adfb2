"""Frames of a video file by their number.

Frame n is the one shown as the n-th, from 0, whatever the rate and the order of decoding: labelling
tools count so, and :func:`~d2video.video.open_video` shows them so.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from itertools import chain

import av
import numpy as np
from av.error import FFmpegError
from detectron2.utils.logger import log_first_n

from d2video.utils.errors import BrokenFile
from d2video.video.decoding import CutOff, decode, open_container, reason, single_threaded, upright
from d2video.video.frame_index import frame_index, recounted_index

# Up to so many frames before a key frame, decoding on to it is cheaper than a seek.
_DECODE_ON = 4
_NO_STAMP = -(2**63)  # before all others


class VideoFrames:
    """The frames of a video file by number; use it in a ``with`` statement.

    Reading seeks to the key frame before, unless decoding on is shorter, and converts only what is
    wanted. Decoding runs in the caller's thread. An object serves one thread of one process.

    Attributes:
        path: of the file.
        size: height and width of the first frame in pixels, upright.

    Raises:
        BrokenFile: as :func:`~d2video.video.frame_index.frame_index`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(path)
        self._container: av.container.InputContainer | None = None
        self._choice: _Choice | None = None
        self._frames: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._at = -1  # number of the last frame that was decoded
        self._index = frame_index(self.path)
        self.size = self._index.size

    def __len__(self) -> int:
        return len(self._index)

    @property
    def times(self) -> np.ndarray:
        """Seconds since the first frame at which each one is shown, float (L,)."""
        return self._index.times

    @property
    def end(self) -> str:
        """Why the file ends too early, "" if it does not."""
        return self._index.end

    def __enter__(self) -> "VideoFrames":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()  # PyAV's containers are in circles of references, which may live on for long

    def close(self) -> None:
        """Give the decoder and the file back; reading opens them again."""
        self._choice, self._frames, self._at = None, iter(()), -1
        if self._container is not None:
            self._container.close()
        self._container = None

    def read(self, numbers: Iterable[int]) -> list[np.ndarray]:
        """Frames in any order, uint8 (H,W,3), RGB, upright; one that is wanted twice is one array.

        Raises:
            BrokenFile: the video has fewer frames, or one cannot be decoded.
        """
        wanted = [*numbers]
        found = {number: upright(self._frame(number)) for number in sorted({*wanted})}
        return [found[number] for number in wanted]

    def _frame(self, number: int) -> "av.VideoFrame":
        try:
            try:
                return self._reach(number)
            except _Misnumbered:
                self.close()
                self._index = recounted_index(self.path)
                return self._reach(number)
        except (FFmpegError, CutOff) as error:
            error.with_traceback(None)  # it would keep what its frames hold: a decoder
            self.close()
            raise BrokenFile(
                f"cannot decode frame {number} of video {self.path} ({reason(error)}); the file is "
                "damaged: fetch it again or leave it out"
            ) from error

    def _reach(self, number: int) -> "av.VideoFrame":
        """Decode up to a frame of the index."""
        if not 0 <= number < len(self):
            what, advice = f"it has {len(self)}", "give the video that was labelled"
            if self.end:
                what = f"after {len(self)} frames {self.end}"
                advice = "fetch it again or leave it out"
            raise BrokenFile(f"video {self.path} has no frame {number}, {what}: {advice}")
        if self._index.stamps is None and number <= self._at:
            text = (
                f"a seek does not find the frames of video {self.path}: every step back decodes it from the "
                "beginning; write its frames once with d2video extract-frames"
            )
            log_first_n(logging.WARNING, text, name=__name__, key="message")
        if self._choice is None or number <= self._at or self._seek_pays(number):
            self._begin(number)
        assert self._choice is not None
        self._choice.wanted = self._stamp(number)
        for at, frame in self._frames:
            self._at = at
            if at == number:
                return frame
            if at > number:
                break
        raise _Misnumbered(f"video {self.path} has other frames at each reading; convert it to MP4")

    def _stamp(self, number: int) -> int:
        stamps = self._index.stamps
        return _NO_STAMP if stamps is None else int(stamps[number])

    def _key_before(self, number: int) -> int:
        """Place of the last key frame that is shown no later; below 0: of none."""
        return int(np.searchsorted(self._index.keys, self._stamp(number), side="right")) - 1

    def _seek_pays(self, number: int) -> bool:
        key, stamps = self._key_before(number), self._index.stamps
        if key < 0 or stamps is None:
            return False
        return np.searchsorted(stamps, self._index.keys[key]) > self._at + _DECODE_ON

    def _begin(self, number: int) -> None:
        """Restart at a key frame at or before the frame."""
        key, back = self._key_before(number), 1
        while key > 0:
            first = self._seek(int(self._index.keys[key]), self._stamp(number))
            if first is not None and first[0] <= number:
                self._frames = chain([first], self._frames)
                return
            # The seek has ended too late, or the decoder shows nothing until some frames after the key
            # frame: then from one further back.
            key, back = key - back, 2 * back
        self.close()
        container = self._container = open_container(self.path)
        stream = single_threaded(container)
        self._choice = _Choice(stream, self._stamp(number), after_seek=False)
        frames = decode(container, stream, self._choice)
        stamps = self._index.stamps
        self._frames = (
            enumerate(frames) if stamps is None else _numbered(frames, stamps, self._choice)
        )

    def _seek(self, key: int, wanted: int) -> "tuple[int, av.VideoFrame] | None":
        """Go to the key frame of a stamp; the first frame that is shown from there on, if there is one."""
        assert self._index.stamps is not None
        container, stream = self._open()
        self._choice, self._at = _Choice(stream, wanted, after_seek=True), -1
        try:
            container.seek(key, stream=stream)
            frames = decode(container, stream, self._choice)
            self._frames = _numbered(frames, self._index.stamps, self._choice)
            return next(self._frames, None)
        except (FFmpegError, CutOff) as error:
            error.with_traceback(None)
            return None

    def _open(self) -> "tuple[av.container.InputContainer, av.VideoStream]":
        if self._container is None:
            self._container = open_container(self.path)
            # The first packet may hold what all frames depend on, such as the encoder's version.
            next(self._container.demux(single_threaded(self._container))).decode()
        return self._container, self._container.streams.video[0]


class _Misnumbered(BrokenFile):
    """The frames that come are not those of the index."""


class _Choice:
    """Chooses the packets to decode: after a seek none before a key frame, and of the frames before the
    wanted one only those that others refer to.

    Attributes:
        wanted: stamp of the frame.
        since: stamp of the key frame after the seek, once it is found.
        skips: whether the decoder passes over frames.
    """

    def __init__(self, stream: "av.VideoStream", wanted: int, *, after_seek: bool) -> None:
        self.wanted = wanted
        self.since: int | None = None if after_seek else _NO_STAMP
        self._decoder = stream.codec_context
        # Other decoders may skip more.
        self.skips = self._decoder.name == "h264"

    def __call__(self, packet: "av.Packet") -> bool:
        if self.since is None:
            if not packet.is_keyframe or packet.pts is None:
                return False
            self.since = packet.pts
        if self.skips:
            is_before = packet.pts is not None and packet.pts < self.wanted
            self._decoder.skip_frame = "NONREF" if is_before else "DEFAULT"
        return True


def _numbered(
    frames: "Iterator[av.VideoFrame]", stamps: np.ndarray, choice: _Choice
) -> "Iterator[tuple[int, av.VideoFrame]]":
    """Frames with their numbers, by their time stamps.

    Raises:
        _Misnumbered: one is not of the stamps, or one of these is missing.
    """
    before = -1 if choice.since is not None else None
    for frame in frames:
        stamp = frame.pts
        if stamp is not None and choice.since is not None and stamp < choice.since:
            continue  # it refers to frames before the key frame
        number = -1 if stamp is None else int(np.searchsorted(stamps, stamp))
        is_next = before is None or number == before + 1 or (choice.skips and number > before)
        if not 0 <= number < len(stamps) or stamps[number] != stamp or not is_next:
            raise _Misnumbered(f"a frame with the stamp {stamp}")
        yield number, frame
        before = number

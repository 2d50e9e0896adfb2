"""Whether a video file is cut off at its end, where FFmpeg does not say so.

Most containers state how long each frame is, and FFmpeg marks a frame that is too short. Two ways
serve the others:

- Streams of frame after frame (MPEG-TS, MPEG-PS, bare H.264, WMV, ...): the last frame is decoded
  again, strictly, and once more in a way that changes only a picture of which something is missing.
- Containers whose structure has an end are compared with it (MP4, Matroska, RIFF, FLV, ASF, Ogg, MXF,
  GIF, PNG, MPEG-TS): the cut may lie in the sound.

A bare stream that is cut between two frames is a shorter stream, which nothing tells.
"""

from collections.abc import Callable
from typing import IO

import av
import numpy as np
from av.error import FFmpegError

# FFmpeg's names of containers that state the length of a frame.
_FRAMED = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv", "ogg", "ivf"})
# Of those whose files hold frames of one size and nothing behind them.
_FRAMES_ONLY = frozenset({"dv", "yuv4mpegpipe"})
# With more packets than this between two key frames, the last frame is not looked at.
_MOST_PACKETS = 2000
# Decoders that read on beyond the end: a whole picture does not depend on what comes there.
_READING_ON = frozenset({"h264", "hevc", "mjpeg"})
_BEYOND = np.random.default_rng(0).integers(1, 256, 512, dtype=np.uint8).tobytes()


class RecentPackets:
    """The last packets of a video stream, from the key frame before the last one on, and the first."""

    def __init__(self, container: "av.container.InputContainer") -> None:
        self._container = container
        self._is_needed = container.format.name not in _FRAMED
        # The first may hold what decoders need later on, such as the encoder's version. Two groups,
        # as pictures at the start of one may refer to the one before.
        self._first: list[av.Packet] = []
        self._groups: list[list[av.Packet]] = [[], []]

    def add(self, packet: "av.Packet") -> None:
        """Take the next packet."""
        if not self._is_needed:
            return
        if packet.is_keyframe:
            if not self._first:
                self._first = [packet]
            self._groups = [self._groups[1], [packet]]
        elif 0 < len(self._groups[1]) < _MOST_PACKETS:
            self._groups[1].append(packet)
        else:  # before the first key frame, or too many
            self._groups = [[], []]

    def last_is_cut(self) -> bool:
        """Whether a part of the last packet's frame is missing."""
        decoder = self._container.streams.video[0].codec_context
        if decoder.name == "gif":  # its decoder fills what is missing
            return is_cut(self._container)
        if not self._groups[1]:
            return False
        if self._container.format.name in _FRAMES_ONLY:
            last = self._groups[1][-1]
            return (last.pos or 0) + last.size != self._container.size
        failed, frames = self._decode({"err_detect": "explode"})
        if any(failed[-len(self._groups[1]) : -1]):  # as do whole frames: this says nothing
            return False
        if failed[-1]:
            return True
        # Decoders conceal what is missing; concealed otherwise, it is another picture. Nothing is left
        # open by H.264's, as that may change the deblocking of a whole picture.
        ways = [({"ec": "favor_inter"}, b"")]
        if decoder.name not in _READING_ON:
            ways.append(({"ec": "0"}, b""))
        # avcC and hvcC, which begin with 1, are of packets whose parts have stated lengths.
        elif not (decoder.extradata or b"").startswith(b"\1"):
            ways = [({"ec": "favor_inter"}, _BEYOND)]
        return any(self._decode(*way)[1] != frames for way in ways)

    def _decode(
        self, options: dict[str, str], beyond: bytes = b""
    ) -> tuple[list[bool], list[bytes]]:
        """Whether each packet failed, and the frames from the last packet on.

        Args:
            options: of the decoder.
            beyond: what follows the last packet.
        """
        before, last = self._groups
        first = [packet for packet in self._first if packet not in (before or last)[:1]]
        packets = first + before + last
        failed = [False] * len(packets)
        frames: list[bytes] = []
        given = self._container.options
        with av.open(self._container.name, options=given) as container:
            decoder = container.streams.video[0].codec_context
            decoder.thread_count = 1
            decoder.options = {"max_pixels": given["max_pixels"], **options}
            for index, packet in enumerate(packets):
                is_last = index == len(packets) - 1
                copy = av.Packet(bytes(packet) + beyond) if is_last else packet
                try:
                    shown = decoder.decode(copy)
                    if is_last:
                        shown += decoder.decode(None)
                        frames += [frame.to_rgb().to_ndarray().tobytes() for frame in shown]
                except FFmpegError:
                    failed[index] = True
        return failed, frames


def is_cut(container: "av.container.InputContainer") -> bool:
    """Whether a file ends before its container's structure does."""
    find = _ENDS.get(container.format.name)
    if find is None:
        return False
    with open(container.name.removeprefix("file:"), "rb") as file:
        return find(file, container.size)


def _matroska(file: IO[bytes], size: int) -> bool:
    """The Segment is too short; a live recording's has no stated size. EBML: RFC 8794, section 4."""
    while file.tell() < size:
        name, length = _ebml_number(file), _ebml_number(file)
        if name is None or length is None:
            return False
        if name == 0x8538067:  # written 0x18538067, with the marker of its length
            return file.tell() + length > size
        file.seek(length, 1)
    return False


def _ebml_number(file: IO[bytes]) -> int | None:
    """A number of 1 to 8 bytes without its marker; ``None``: it stands for "unknown"."""
    first = int.from_bytes(file.read(1), "big")
    length = 9 - first.bit_length()
    bits = 7 * length
    value = int.from_bytes(bytes([first]) + file.read(length - 1), "big") & ((1 << bits) - 1)
    return None if length > 8 or value == (1 << bits) - 1 else value


def _riff(file: IO[bytes], size: int) -> bool:
    """A list of the top level is too short; recordings that were not closed say 0 or all ones."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        if name != b"RIFF" or length in (0, 0xFFFFFFFF):
            return False
        at += 8 + length + length % 2
    return at > size + 1  # the last padding may be left out


def _mp4(file: IO[bytes], size: int) -> bool:
    """A box with frames or their index is too short. ISO/IEC 14496-12, section 4.2."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        length, name = int.from_bytes(file.read(4), "big"), file.read(4)
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        if length < 8:  # 0: it goes on to the end
            return False
        at += length
        if at > size:
            return name in (b"mdat", b"moov", b"moof")
    return False


def _flv(file: IO[bytes], size: int) -> bool:
    """The last tag is too short; the size that follows a tag may be left out at the end."""
    file.seek(5)
    at = int.from_bytes(file.read(4), "big") + 4
    while at + 4 < size:
        file.seek(at)
        tag = file.read(4)
        if tag[0] & 0x1F not in (8, 9, 18):  # sound, video, data; something else was appended
            return False
        at += 11 + int.from_bytes(tag[1:], "big") + 4
    return at > size + 4 or at < size


def _mxf(file: IO[bytes], size: int) -> bool:
    """A key with its value is too short. SMPTE 377, section 6.3."""
    at = 0
    while at + 17 <= size:
        file.seek(at)
        if file.read(4) != b"\x06\x0e\x2b\x34":  # as all keys begin
            return False
        file.seek(at + 16)
        length = file.read(1)[0]
        if length > 0x80:
            length = int.from_bytes(file.read(length - 0x80), "big")
        at = file.tell() + length
    return at != size


def _gif(file: IO[bytes], size: int) -> bool:
    file.seek(max(0, size - 64))
    return not file.read().rstrip(b"\0").endswith(b";")


def _png(file: IO[bytes], size: int) -> bool:
    file.seek(max(0, size - 4096))
    return b"IEND\xaeB`\x82" not in file.read()


def _mpegts(file: IO[bytes], size: int) -> bool:
    """The last packet is too short; packets have 188 bytes, after a time code 192, with parity 204."""
    start = file.read(16 * 204)
    for length, offset in ((188, 0), (192, 4), (204, 0)):
        if all(byte == 0x47 for byte in start[offset::length]):
            return size % length != 0
    return False


def _asf(file: IO[bytes], size: int) -> bool:
    """The data object, which follows the header object, is too short. A live recording's has size 0."""
    file.seek(16)  # behind the object's identifier
    header = int.from_bytes(file.read(8), "little")
    if header > size:
        return True
    file.seek(header + 16)
    return header + int.from_bytes(file.read(8), "little") > size


def _ogg(file: IO[bytes], size: int) -> bool:
    """The last page is too short. RFC 3533, section 6."""
    file.seek(max(0, size - (1 << 17)))  # a page has less than 64 KiB
    page = file.read().rpartition(b"OggS")[2]
    segments = page[23 : 23 + page[22]] if len(page) > 22 else b""
    return len(page) < 23 + len(segments) + sum(segments) or not segments


_ENDS: dict[str, Callable[[IO[bytes], int], bool]] = {
    "mov,mp4,m4a,3gp,3g2,mj2": _mp4,
    "matroska,webm": _matroska,
    "avi": _riff,
    "flv": _flv,
    "mxf": _mxf,
    "gif": _gif,
    "apng": _png,
    "asf": _asf,
    "mpegts": _mpegts,
    "ogg": _ogg,
}

"""Limits on users' input: the size of a file, the length of a video, the size of a picture."""

from dataclasses import dataclass
from pathlib import Path

from d2video.inference.sources import Images, Source, Videos
from d2video.utils.errors import UserError
from d2video.video.frame_source import Frame, FrameSource
from d2video.video.image_io import read_image_size


@dataclass(frozen=True)
class Limits:
    """Maximum sizes of users' input.

    Attributes:
        upload_mb: size of a file in MB (10^6 bytes).
        seconds, frames: length of a video.
        megapixels: height times width of a picture or of a video's frames, in 10^6 pixels.
    """

    upload_mb: float = 200.0
    seconds: float = 120.0
    frames: int = 3000
    megapixels: float = 9.0

    @property
    def upload_bytes(self) -> int:
        return int(self.upload_mb * 1e6)

    def check(self, source: Source) -> None:
        """Check the sizes in the header of an opened file, before the model runs.

        Raises:
            UserError: if a size is above its limit.
        """
        assert not isinstance(source, Videos), "one file was opened"
        if isinstance(source, Images):
            for picture in source.pictures:
                assert isinstance(picture, str | Path)
                self._check_size(source.name, *read_image_size(picture))
            return
        self._check_size(source.name, *source.size)
        length = source.estimated_length or 0
        self._check_length(source.name, length, length / source.fps)

    def check_frame(self, source: Source, frame: Frame) -> None:
        """Check the length up to a frame, because headers of files often give a wrong length.

        Raises:
            UserError: if the length is above its limit.
        """
        if isinstance(source, FrameSource):
            self._check_length(source.name, frame.index + 1, frame.time)

    def _check_size(self, name: str, height: int, width: int) -> None:
        if height * width > self.megapixels * 1e6:
            raise UserError(
                f"{name} has {width}x{height} pixels, above the limit of {self.megapixels:g} megapixels "
                "of this page; make it smaller"
            )

    def _check_length(self, name: str, frames: int, seconds: float) -> None:
        if frames > self.frames or seconds > self.seconds:
            raise UserError(
                f"{name} is longer than this page takes, {self.seconds:g} s and {self.frames} frames; "
                "give a part of it"
            )

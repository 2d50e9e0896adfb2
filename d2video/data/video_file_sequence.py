"""The frames of a long clip of a video file, decoded when they are asked for."""

from collections.abc import Iterator, Sequence

import numpy as np
from fvcore.transforms.transform import Transform
from torch import Tensor

from d2video.data.frame_sequence import frame_to_tensor
from d2video.video.prefetch import prefetch
from d2video.video.video_file import VideoFile


class VideoFrameSequence(Sequence[Tensor]):
    """Frames of a video file as a sequence that holds no pixels and no decoder; it pickles.

    ``frames[t]`` is a uint8 tensor (3,h,w), ``frames[a:b]`` another such sequence. Iteration decodes
    in one go, in order; single frames are found anew each time, which is slow.
    """

    def __init__(
        self,
        path: str,
        times: np.ndarray,
        transform: Transform,
        *,
        image_format: str = "RGB",
        decode_ahead: int = 0,
    ):
        """
        Args:
            path: of the video file.
            times: float (T,), seconds since the first frame, ascending.
            transform: applied to each frame.
            image_format: order of the channels, "RGB" or "BGR".
            decode_ahead: during iteration, frames read before they are asked for; 0 reads in the
                caller's thread.
        """
        self.path = path
        self.times = times
        self.transform = transform
        self.image_format = image_format
        self.decode_ahead = decode_ahead

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, index):
        """
        Raises:
            IndexError: there is no such frame.
            BrokenFile: it cannot be decoded.
        """
        if isinstance(index, slice):
            return self._part(self.times[index])
        (frame,) = self._part(self.times[[index]])._decode()
        return frame

    def __iter__(self) -> Iterator[Tensor]:
        return prefetch(self._decode(), self.decode_ahead)

    def _part(self, times: np.ndarray) -> "VideoFrameSequence":
        return VideoFrameSequence(
            self.path,
            times,
            self.transform,
            image_format=self.image_format,
            decode_ahead=self.decode_ahead,
        )

    def _decode(self) -> Iterator[Tensor]:
        with VideoFile(self.path) as video:
            for frame in video.frames_at(self.times):
                image = frame.image if self.image_format == "RGB" else frame.image[:, :, ::-1]
                yield frame_to_tensor(self.transform.apply_image(image))

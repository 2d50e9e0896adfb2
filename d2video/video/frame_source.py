"""A video as its readers see it: a lazy sequence of frames."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from d2video.utils.errors import UserError
from d2video.video.image_io import rgb_of
from d2video.video.prefetch import prefetch

DEFAULT_FPS = 25.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video, or an image.

    Attributes:
        index: 0 for the first frame.
        time: seconds since the first frame, ascending.
        image: uint8 (H,W,3), RGB, upright.
        file_name: of an image that is not a frame of a video, "" if it has none; None: of a video.
        number: its image's name, if all images have numbers as names; None: ``index`` + 1.
        duration: seconds that it is shown, if the video states them.
        source: name of the video or of the images that it belongs to.
    """

    index: int
    time: float
    image: np.ndarray
    file_name: str | None = None
    number: int | None = None
    duration: float | None = None
    source: str | None = None


class ReadFrame(NamedTuple):
    """A frame as a source reads it; ``None`` where the source does not state times."""

    image: np.ndarray
    time: float | None = None
    duration: float | None = None


class FrameSource(ABC):
    """A video as a lazy sequence of :class:`Frame`; never holds more than a few of them.

    Iterating decodes ahead in a background thread and can be repeated (except over a one-shot
    iterator of arrays). All frames have one size.

    Attributes:
        name: what error messages call the video.
        fps: frames a second, on average.
        size: (height, width) of the frames in pixels.
        estimated_length: number of frames by the header, often wrong; ``None`` if unknown.
        prefetch: frames decoded ahead.
        is_live: it has no end, as a camera.
        frame_numbers: of its frames, if their images have numbers as names; None: 1, 2, ...
    """

    name: str
    fps: float
    size: tuple[int, int]
    estimated_length: int | None
    prefetch: int = 0
    is_live: bool = False
    frame_numbers: Sequence[int] | None = None

    @abstractmethod
    def _read(self) -> Iterator[ReadFrame]:
        """Yield the frames from the beginning."""

    def frames(self) -> Iterator[Frame]:
        """The frames, decoded in the caller's thread.

        Raises:
            UserError: on reaching a frame that cannot be decoded or has another size.
        """
        for index, (image, time, duration) in enumerate(self._read()):
            if image.shape[:2] != self.size:
                height, width = self.size
                raise UserError(
                    f"{self.name}: frame {index} is {image.shape[1]}x{image.shape[0]} pixels, "
                    f"the first one {width}x{height}; all frames of a video must have one size"
                )
            number = None if self.frame_numbers is None else self.frame_numbers[index]
            time = index / self.fps if time is None else time
            yield Frame(index, time, image, number=number, duration=duration, source=self.name)

    def __iter__(self) -> Iterator[Frame]:
        return prefetch(self.frames(), self.prefetch)


def check_frame(video: str, index: int, image: Any) -> np.ndarray:
    """Return a picture as a uint8 array (H,W,3), RGB.

    Args:
        video, index: say which frame it is, for messages.
        image: such an array, a PIL image (of any mode; it is turned upright), or a uint8 tensor, (H,W,3)
            or (3,H,W), on any device.

    Raises:
        UserError: it is something else.
    """
    where = f"{video}: frame {index}"
    if isinstance(image, Image.Image):
        return rgb_of(image, where)
    if isinstance(image, Tensor):
        image = image.detach().cpu().numpy()
        if image.ndim == 3 and image.shape[2] != 3 and image.shape[0] == 3:
            image = np.ascontiguousarray(image.transpose(1, 2, 0))
    if not isinstance(image, np.ndarray):
        raise UserError(
            f"{where} is of type {type(image).__name__}, not an array; give arrays, tensors or PIL images"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise UserError(
            f"{where} has shape {image.shape} and type {image.dtype}; expected (H,W,3) of uint8"
            f"{_advice(image)}"
        )
    return image


def _advice(image: np.ndarray) -> str:
    """How an array that has another form may become a picture."""
    if image.dtype.kind == "f":
        return ": the range of floats is unknown, so convert them, such as by (255 * x).astype(np.uint8)"
    if image.ndim == 2:
        return ": for a grey picture np.stack([x] * 3, -1)"
    if image.ndim == 3 and image.shape[2] == 4:
        return ": without transparency x[..., :3]"
    if image.ndim == 3 and image.shape[0] == 3:
        return ": x.transpose(1, 2, 0) puts the channels last"
    return ""

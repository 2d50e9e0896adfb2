"""The frames of a video, read one at a time when they are asked for."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from fvcore.transforms.transform import Transform
from torch import Tensor

from d2video.data.frame_pixels import size_of, transformed
from d2video.utils.errors import BrokenFile, UserError
from d2video.video.frame_names import read_pixels, split_frame_name
from d2video.video.image_io import Pixels, exif_advice, read_rgb
from d2video.video.prefetch import FRAMES_AHEAD, prefetch
from d2video.video.video_file import VideoFile


def read_frame(
    name: str, height: int | None, width: int | None, image_format: str = "RGB"
) -> np.ndarray:
    """Read one frame or image of a dataset as uint8 (H,W,3), see :func:`read_frames`."""
    return np.asarray(read_frames([name], height, width, image_format)[0])


def read_frames(
    names: Sequence[str], height: int | None, width: int | None, image_format: str = "RGB"
) -> list[Pixels]:
    """Read frames or images of a dataset; one that occurs twice is one object.

    Args:
        names: image files, or frames of video files (:mod:`d2video.video.frame_names`).
        height, width: the size that the dataset states, in pixels, or None where it states none;
            that of the upright image, if the file has an EXIF orientation
            (:func:`~d2video.video.image_io.use_exif_orientation`).
        image_format: order of the channels, "RGB" or "BGR".

    Raises:
        BrokenFile: a file is missing, damaged, or of another size.
    """
    images = read_pixels(names)
    for name, image in images.items():
        if height is not None and width is not None and size_of(image) != (height, width):
            raise BrokenFile(
                f"image {name} is {size_of(image)[1]}x{size_of(image)[0]} but its dataset says "
                f"{width}x{height}: {_size_advice(name, height, width)}"
            )
        images[name] = in_format(image, image_format)
    return [images[name] for name in names]


def _size_advice(name: str, height: int, width: int) -> str:
    if split_frame_name(name) is not None:
        return "give the video that was labelled"
    return exif_advice(name, height, width) or "correct the annotation file or the image"


def read_label_image(path: str, image_path: str, height: int, width: int) -> np.ndarray:
    """Read the uint8 (H,W,3) label image of an image that is ``height`` x ``width`` pixels.

    Raises:
        BrokenFile: the file is missing, damaged, or of another size.
    """
    labels = read_rgb(path)
    if labels.shape[:2] != (height, width):
        advice = exif_advice(image_path, *labels.shape[:2]) or "correct one of them"
        raise BrokenFile(
            f"image {image_path} is {width}x{height} but its label image {path} "
            f"{labels.shape[1]}x{labels.shape[0]}: {advice}"
        )
    return labels


def in_format(image: Pixels, image_format: str) -> Pixels:
    """An RGB image (H,W,3) with the order of channels "RGB" or "BGR"."""
    return image if image_format == "RGB" else np.asarray(image)[:, :, ::-1]


def check_image_format(image_format: str) -> None:
    """Raise a UserError for an order of the channels other than "RGB" and "BGR"."""
    if image_format not in ("RGB", "BGR"):
        raise UserError(f"INPUT.FORMAT is '{image_format}': choose RGB or BGR")


def frame_to_tensor(image: np.ndarray) -> Tensor:
    """(H,W,3) array -> (3,H,W) tensor of its own memory."""
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))


class LazyFrames(Sequence[Tensor]):
    """The frames of one video, augmented, as a sequence that holds no pixels; it pickles.

    ``frames[t]`` is a uint8 tensor (3,h,w), ``frames[a:b]`` another such sequence. Iteration reads in
    order, ahead in the background.
    """

    def __init__(
        self,
        places: Sequence[Any] | np.ndarray,
        transform: Transform,
        *,
        image_format: str = "RGB",
        decode_ahead: int = FRAMES_AHEAD,
    ) -> None:
        """Each frame has one of the ``places``.

        During iteration ``decode_ahead`` frames are read before they are asked for. 0 reads in the
        caller's thread.
        """
        self.places = places
        self.transform = transform
        self.image_format = image_format
        self.decode_ahead = decode_ahead

    @abstractmethod
    def _read(self) -> Iterator[Pixels]:
        """The frames at all places in order, RGB (H,W,3)."""

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index):
        """Frame ``index`` (a negative one counts from the end), or a sequence for a slice.

        Raises:
            IndexError: there is no such frame.
            BrokenFile: it cannot be read, or has another size.
        """
        if isinstance(index, slice):
            part = copy(self)
            part.places = self.places[index]
            return part
        t = range(len(self))[index]
        (frame,) = self[t : t + 1]._tensors()
        return frame

    def __iter__(self) -> Iterator[Tensor]:
        return prefetch(self._tensors(), self.decode_ahead)

    def _tensors(self) -> Iterator[Tensor]:
        for image in self._read():
            image = in_format(image, self.image_format)
            yield frame_to_tensor(transformed(image, self.transform))


class FrameSequence(LazyFrames):
    """The frames of a video that is a list of image files, or of frames of video files."""

    def __init__(
        self,
        file_names: Sequence[str],
        height: int,
        width: int,
        transform: Transform,
        **options: Any,
    ) -> None:
        """``height`` and ``width`` are those of the image files, in pixels."""
        super().__init__(list(file_names), transform, **options)
        self.height = height
        self.width = width

    def _read(self) -> Iterator[Pixels]:
        for name in self.places:
            yield from read_frames([name], self.height, self.width)


class VideoFrameSequence(LazyFrames):
    """Frames of a video file. Each single frame is searched for again, which is slow."""

    def __init__(self, path: str, times: np.ndarray, transform: Transform, **options: Any) -> None:
        """``times`` are float (T,), seconds since the first frame, ascending."""
        super().__init__(times, transform, **options)
        self.path = path

    def _read(self) -> Iterator[Pixels]:
        with VideoFile(self.path) as video:
            for frame in video.frames_at(self.places):
                yield frame.image

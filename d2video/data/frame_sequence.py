"""The frames of a video, read one at a time when they are asked for."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from fvcore.transforms.transform import Transform
from torch import Tensor

from d2video.utils.errors import BrokenFile, UserError
from d2video.video.image_io import read_rgb
from d2video.video.prefetch import prefetch


def read_frame(
    path: str, height: int | None, width: int | None, image_format: str = "RGB"
) -> np.ndarray:
    """Read one frame or image of a dataset, see :func:`~d2video.video.image_io.read_rgb`.

    Args:
        path: image file.
        height, width: the size that the dataset states, in pixels, or None where it states none;
            that of the upright image, if the file has an EXIF orientation.
        image_format: order of the channels, "RGB" or "BGR".

    Returns:
        uint8 array (H,W,3).

    Raises:
        BrokenFile: the file is missing, damaged, or of another size.
    """
    image = read_rgb(path)
    if height is not None and width is not None and image.shape[:2] != (height, width):
        raise BrokenFile(
            f"image {path} is {image.shape[1]}x{image.shape[0]} but its dataset says "
            f"{width}x{height}: mend the annotation file or the image"
        )
    return image if image_format == "RGB" else image[:, :, ::-1]


def check_image_format(image_format: str) -> None:
    """Refuse an order of the channels other than "RGB" and "BGR".

    Raises:
        UserError: it is another.
    """
    if image_format not in ("RGB", "BGR"):
        raise UserError(f"INPUT.FORMAT is '{image_format}': choose RGB or BGR")


def frame_to_tensor(image: np.ndarray) -> Tensor:
    """(H,W,3) array -> (3,H,W) tensor of its own memory."""
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))


class FrameSequence(Sequence[Tensor]):
    """The frames of one video, resized, as a sequence that holds no pixels.

    ``frames[t]`` reads frame t and returns it as a uint8 tensor (3,h,w). Iteration does the same in
    order and reads ahead in the background. The object pickles (paths and transform only).
    """

    def __init__(
        self,
        file_names: Sequence[str],
        height: int,
        width: int,
        transform: Transform,
        *,
        image_format: str = "RGB",
        decode_ahead: int = 0,
    ):
        """
        Args:
            file_names: image files, one a frame.
            height, width: of the files' images, in pixels.
            transform: applied to each frame.
            image_format: order of the channels, "RGB" or "BGR".
            decode_ahead: during iteration, frames read before they are asked for; 0 reads in the
                caller's thread.
        """
        self.file_names = list(file_names)
        self.height = height
        self.width = width
        self.transform = transform
        self.image_format = image_format
        self.decode_ahead = decode_ahead

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index):
        """Frame ``index`` (a negative one counts from the end), or a FrameSequence for a slice.

        Raises:
            IndexError: there is no such frame.
            BrokenFile: its file is missing, damaged, or of another size.
        """
        if isinstance(index, slice):
            return FrameSequence(
                self.file_names[index],
                self.height,
                self.width,
                self.transform,
                image_format=self.image_format,
                decode_ahead=self.decode_ahead,
            )
        image = read_frame(self.file_names[index], self.height, self.width, self.image_format)
        return frame_to_tensor(self.transform.apply_image(image))

    def __iter__(self) -> Iterator[Tensor]:
        return prefetch((self[t] for t in range(len(self))), self.decode_ahead)

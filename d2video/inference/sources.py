"""Whether a source is a video or unrelated images."""

import os
from pathlib import Path
from typing import NamedTuple

from d2video.video.frame_source import FrameSource
from d2video.video.image_io import is_still_image, list_images
from d2video.video.video_reader import OnBroken, VideoSource, open_video


class Images(NamedTuple):
    """Unrelated image files, and a name for all of them."""

    name: str
    paths: list[Path]


Source = FrameSource | Images


def open_source(
    source: VideoSource,
    *,
    takes_images: bool,
    as_video: bool = False,
    fps: float | None = None,
    on_broken: OnBroken = "raise",
) -> Source:
    """Open a video or images.

    Args:
        source: what :func:`open_video` takes.
        takes_images: the task takes a folder image by image; see :class:`Task`.
        as_video: open even an image, or such a folder, as a video.
        fps, on_broken: of a video; see :func:`open_video`.

    Raises:
        UserError: as :func:`open_video`.
    """
    if isinstance(source, str | os.PathLike) and not as_video:
        path = Path(source)
        if path.is_dir() and takes_images:
            return Images(str(path), list_images(path))
        if path.is_file() and is_still_image(path):
            return Images(str(path), [path])
    return open_video(source, fps=fps, on_broken=on_broken)

"""What a predictor is given: one video, unrelated images, or several videos."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

from d2video.utils.addresses import address_of
from d2video.utils.sources import source_name
from d2video.video.frame_source import FrameSource
from d2video.video.pictures import Picture, PictureSource, is_picture
from d2video.video.video_reader import OnBroken, VideoSource, open_video, several


class Images(NamedTuple):
    """Unrelated images of any sizes, and a name for all of them.

    Attributes:
        pictures: what :func:`d2video.video.read_picture` takes.
    """

    name: str
    pictures: Sequence[Picture]


class Videos(NamedTuple):
    """Several videos, and a name for all of them; each is opened when its turn comes.

    Attributes:
        sources: the name of each, for :func:`open_video`.
        fps, on_broken: of each.
    """

    name: str
    sources: list[Any]
    fps: float | None = None
    on_broken: OnBroken = "raise"

    def open(self, source: Any) -> FrameSource:
        """Open one of them, by its name.

        Raises:
            UserError: as :func:`open_video`.
        """
        return open_video(source, fps=self.fps, on_broken=self.on_broken)

    def opened(self) -> Iterator[FrameSource]:
        """The videos in order."""
        return map(self.open, self.sources)


Source = FrameSource | Images | Videos


def open_source(
    source: VideoSource | Source,
    *,
    takes_images: bool,
    as_video: bool = False,
    fps: float | None = None,
    on_broken: OnBroken = "raise",
) -> Source:
    """Open what a predictor is given.

    Args:
        source: what :func:`open_video` takes; or several videos: a list of their names, a text file
            with one name a line (``"videos.txt"``), a pattern (``"videos/*.mp4"``) or a folder that holds
            videos and no images.
        takes_images: the task takes the images of a list, a pattern or a folder one by one, of any
            sizes, not as the frames of one video; see :class:`Task`.
        as_video: open even an image, or such images, as a video.
        fps, on_broken: of a video; see :func:`open_video`.

    Returns:
        :class:`Images` for an image, or for several if the task takes images; :class:`Videos` for
        several videos; else a video.

    Raises:
        UserError: as :func:`open_video`.
    """
    if isinstance(source, FrameSource | Images | Videos):
        return source
    is_address = isinstance(source, str | os.PathLike) and address_of(source) is not None
    listed = several(source)
    if listed and not listed.are_pictures and (listed.is_open or len(listed.items) > 1):
        return Videos(listed.name, listed.items, fps, on_broken)
    if not as_video:
        if is_picture(source):
            return Images(source_name(source), [cast(Picture, source)])
        if listed is not None and listed.are_pictures and listed.items and takes_images:
            return Images(listed.name, listed.items)
    video = open_video(source, fps=fps, on_broken=on_broken)
    if isinstance(video, PictureSource) and is_address and not as_video:
        return Images(video.name, [frame.image for frame in video])  # its name did not tell
    return video

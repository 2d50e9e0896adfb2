"""The frames of a video as image files in a folder."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from d2video.utils.errors import BrokenFile
from d2video.video.frame_names import file_of_frame, read_images, split_frame_name
from d2video.video.video_frames import VideoFrames


def put_frames(names: Sequence[str], folder: Path) -> str | None:
    """Put frames into a new folder as ``000001.jpg``, ``000002.jpg``, ...

    Image files are hard links where the disk allows, else copies, and keep their suffixes. Frames of a
    video file become JPEG files.

    Args:
        names: image files, or frames of video files (:mod:`d2video.video.frame_names`).

    Returns:
        the suffix that all files have; None if they differ.

    Raises:
        BrokenFile: a file is missing or cannot be read.
    """
    folder.mkdir()
    suffixes = set()
    for number, name in enumerate(names, 1):
        of_video = split_frame_name(name)
        suffix = ".jpg" if of_video else Path(name).suffix.lower()
        suffixes.add(suffix)
        target = folder / f"{number:06d}{suffix}"
        if of_video:
            Image.fromarray(read_images([name])[name]).save(target, quality=95)
        else:
            link_file(name, target)
    return suffixes.pop() if len(suffixes) == 1 else None


def frame_rate(names: Sequence[str]) -> float | None:
    """Frames a second, on average, if they are those of one video file; None: unknown."""
    places = [*map(split_frame_name, names)]
    numbers = [place[1] for place in places if place is not None]
    files = {place and place[0] for place in places}
    if len(numbers) < 2 or len(files) > 1:
        return None
    with VideoFrames(file_of_frame(names[0])) as video:
        return float((len(numbers) - 1) / (video.times[numbers[-1]] - video.times[numbers[0]]))


def link_file(name: str, target: str | os.PathLike[str]) -> None:
    """Make a hard link to a file or, on another disk, a copy.

    Raises:
        BrokenFile: the file is missing.
    """
    source = os.path.realpath(name)
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise BrokenFile(f"file {name} does not exist") from None
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)

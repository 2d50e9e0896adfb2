"""The frames that labels belong to: a folder of images or a video file beside them."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from d2video.fetching import around
from d2video.formats.faults import EntryError
from d2video.formats.text import as_json
from d2video.utils.errors import UserError
from d2video.video.frame_extraction import is_whole_video
from d2video.video.frame_index import frame_index
from d2video.video.frame_names import frame_name
from d2video.video.image_io import (
    IMAGE_SUFFIXES,
    exif_advice,
    holds_files,
    number_in_name,
    read_image_size,
    visible_files,
)
from d2video.video.video_file import VIDEO_SUFFIXES


@dataclass(frozen=True)
class Footage:
    """All frames of a video.

    Attributes:
        path: the folder or the video file.
        frames: in order, an image file each or a name of :func:`~d2video.video.frame_names.frame_name`.
        size: height and width of the first one in pixels.
        is_video_file: it is a video file, or the folder of all its frames by d2video extract-frames.
    """

    path: str
    frames: list[str]
    size: tuple[int, int]
    is_video_file: bool

    def by_stem(self) -> dict[str, str]:
        """The image files by their names without suffix."""
        return {Path(frame).stem: frame for frame in self.frames}

    def check_size(self, size: tuple[int, int], source: str) -> None:
        """
        Raises:
            UserError: the labels of ``source`` are for frames of another height and width.
        """
        if size != self.size:
            (height, width), (h, w) = size, self.size
            raise UserError(
                f"{source} labels frames of {width}x{height} pixels, and {self.path} has {w}x{h}: give the "
                "frames that were labelled (image_root)"
            )


def check_image_size(frame: str, size: tuple[int, int], stated: tuple[Any, Any]) -> None:
    """Compare height and width of an image with those that its labels state, of whatever type.

    Raises:
        EntryError: they differ.
    """
    if stated != size:
        (height, width), (h, w) = map(as_json, stated), size
        advice = exif_advice(frame, *stated) or "give the image that was labelled"
        raise EntryError(
            f"its labels are for {width}x{height} pixels, and {frame} has {w}x{h}: {advice}"
        )


def read_footage(path: str) -> Footage:
    """The frames of a folder of images, in natural order, or of a video file.

    Raises:
        UserError: the file or folder is missing, or no image is in it.
        BrokenFile: the video or the first image cannot be read.
    """
    if os.path.isdir(path):
        images = [str(each) for each in visible_files(path, IMAGE_SUFFIXES)]
        if not images:
            raise UserError(
                f"folder {path} holds no image: put the frames there, or give image_root"
            )
        is_whole = is_whole_video(path, len(images))
        return Footage(path, images, read_image_size(images[0]), is_whole)
    if not os.path.isfile(path):
        raise UserError(f"{path} is neither a folder of images nor a video file: correct the path")
    index = frame_index(path)
    frames = [frame_name(path, number) for number in range(len(index))]
    return Footage(path, frames, index.size, True)


def number_images(
    paths: Iterable[Path], number_of: Callable[[Path], int | None] = number_in_name
) -> dict[int, str] | None:
    """Image files by the numbers of their frames, ascending; None if no name is a number.

    Raises:
        UserError: two have the same number, or only some have one.
    """
    numbered = [(number_of(path), path) for path in paths]
    if all(number is None for number, _ in numbered):
        return None
    by_number: dict[int, str] = {}
    for number, path in numbered:
        if number is None:
            raise UserError(f"image {path}: name it by its frame's number, or take it away")
        if number in by_number:
            raise UserError(
                f"images {by_number[number]} and {path} are both of frame {number}: take one away"
            )
        by_number[number] = str(path)
    return dict(sorted(by_number.items()))


def find_footage(
    source: str,
    folder: str,
    names: Iterable[str],
    image_root: str | None,
    *,
    is_only: bool = True,
    names_video: bool = True,
) -> Footage:
    """The frames of one labelled video.

    Args:
        source: the labels' path, for messages.
        folder: where the tool puts frames, below or beside the labels. Of an archive, what lies beside the
            archive is searched, too.
        names: where in ``folder``, best first; a folder of images, or a video file, whose suffix may be
            left out or be another one, or in whose place a folder may have its name without suffix. "" is
            ``folder`` itself.
        image_root: what the user says in place of ``folder``: the frames themselves (a folder of images
            or a video file), or a folder that holds one of the ``names``.
        is_only: the labels are of no other video. If they are, ``image_root`` cannot be its frames.
        names_video: the labels say what their video is called. If not, it is the only video file that is
            there, where nothing has one of the ``names``.

    Raises:
        UserError: nothing is there.
        BrokenFile: as :func:`read_footage`.
    """
    wanted = [*dict.fromkeys(names)]
    if image_root is not None and os.path.isfile(image_root):
        if not is_only:
            raise UserError(
                f"{source} labels several videos, and image_root, {image_root}, is one: give the folder "
                "that holds them all"
            )
        return read_footage(image_root)
    if image_root is not None and is_only and "" not in wanted:
        wanted.append("")
    places = around(folder) if image_root is None else [image_root]
    for place in places:
        for name in wanted:
            found = _find(place, name)
            is_source = image_root is None and found == os.path.abspath(source)  # masks
            if found is not None and not is_source:
                return read_footage(found)
    video = find_video(places, "") if is_only and not names_video else None
    if video is not None:
        return read_footage(video)
    shown = wanted if len(wanted) < 5 else [*wanted[:2], *wanted[-2:]]
    looked = ", ".join(name or "images in it" for name in shown)
    raise UserError(
        f"{source}: the frames are not in {places[0]}{' or beside it' if len(places) > 1 else ''} (looked "
        f"for {looked}): put the images or the video file there, or give image_root"
    )


def find_image(path: str) -> str | None:
    """The image file of a path whose suffix may be left out or be another one; None if there is none."""
    suffixes = [".PNG", *sorted(IMAGE_SUFFIXES), *sorted(map(str.upper, IMAGE_SUFFIXES))]
    stems = path, os.path.splitext(path)[0]
    places = chain([path], (f"{stem}{suffix}" for stem in stems for suffix in suffixes))
    return next(filter(os.path.isfile, places), None)


def find_video(folders: Iterable[str], name: str) -> str | None:
    """In the first of some folders where there is one, the video file of this name without suffix, or else
    the only one; None if there is none."""
    for folder in filter(os.path.isdir, folders):
        videos = visible_files(folder, VIDEO_SUFFIXES)
        found = [each for each in videos if each.stem == name] or videos
        if len(found) == 1:
            return str(found[0])
    return None


def _find(folder: str, name: str) -> str | None:
    path = os.path.join(folder, name) if name else folder
    if os.path.isfile(path) and Path(path).suffix.lower() in VIDEO_SUFFIXES:
        return path
    if _is_image_folder(path):
        return path
    if not name:
        return None
    # Not by a list of the folder, which may hold thousands of videos.
    stem = os.path.splitext(path)[0]
    suffixes = [*VIDEO_SUFFIXES, *map(str.upper, VIDEO_SUFFIXES)]
    alike = {each + suffix for each in (stem, path) for suffix in suffixes}
    found = [each for each in alike if os.path.isfile(each)]
    if len(found) > 1:  # one, on a disk that ignores case
        found = [*{os.stat(each).st_ino: each for each in found}.values()]
    if len(found) > 1:
        first, second = sorted(found)[:2]
        raise UserError(
            f"{first} and {second} may both be the video {name}: take one away, or give image_root"
        )
    if not found and _is_image_folder(stem):
        return stem
    return found[0] if found else None


def _is_image_folder(path: str) -> bool:
    return os.path.isdir(path) and holds_files(path, IMAGE_SUFFIXES)

"""The frames of a video file as image files, once, so that training need not decode the video."""

import json
import os
import shutil
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from d2video.utils.errors import UserError
from d2video.utils.files import replace_on_success, write_json
from d2video.video.video_frames import VideoFrames

_RECORD = ".frames.json"  # in a folder: of what its images are


@dataclass(frozen=True)
class Extraction:
    """Which frames are written, and how.

    Attributes:
        start, stop, step: of a slice of the frames' numbers, as Python's.
        quality: of JPEG files, 1 to 100; 0: PNG files.
    """

    start: int | None = None
    stop: int | None = None
    step: int | None = None
    quality: int = 95

    def names(self, count: int) -> dict[int, str]:
        """File names by frame, of a video of ``count`` frames."""
        suffix = ".jpg" if self.quality else ".png"
        chosen = range(count)[self.start : self.stop : self.step]
        return {number: f"{number:06d}{suffix}" for number in chosen}


@dataclass(frozen=True)
class Extracted:
    """What was written.

    Attributes:
        count: of the images in the folder.
        written: how many of these were not there before.
        size: height and width of the video's first frame in pixels.
        end: why the video ends too early, "" if it does not.
    """

    count: int
    written: int
    size: tuple[int, int]
    end: str


def extract_frames(
    path: str | os.PathLike[str], folder: str | os.PathLike[str], how: Extraction, workers: int
) -> Extracted:
    """Write frames into a folder as ``000000.jpg`` and so on, by their numbers.

    The folder has its name once all frames are in it. What an interrupted call has written is in a
    hidden folder beside it, and the next call goes on there.

    Args:
        path: the video file.
        folder: the folder; it must not exist, be empty, or hold what this call would write.
        workers: threads that encode images.

    Raises:
        BrokenFile: the video or one of the frames cannot be read.
        UserError: the folder holds something else, no frame is chosen, or the disk refuses.
    """
    folder = Path(folder)
    with VideoFrames(path) as video:
        names = how.names(len(video))
        if not names:
            raise UserError(
                f"none of the {len(video)} frames of {path} is chosen: correct --numbers"
            )
        status = os.stat(path)
        of_video = {"video": os.path.abspath(path), "frames": len(video)}
        state = {"bytes": status.st_size, "time": status.st_mtime_ns}
        record = of_video | state | asdict(how)
        try:
            written = _fill(video, folder, names, record, workers)
        except OSError as error:
            raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
        return Extracted(len(names), written, video.size, video.end)


def is_whole_video(folder: str | os.PathLike[str], count: int) -> bool:
    """Whether a folder of ``count`` images holds all frames of a video, as :func:`extract_frames` writes
    them."""
    record = _record_of(Path(folder))
    return isinstance(record, dict) and record.get("frames") == count


def _fill(
    video: VideoFrames,
    folder: Path,
    names: dict[int, str],
    record: dict[str, Any],
    workers: int,
) -> int:
    """How many images were written."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        if _record_of(folder) == record:
            return 0
        raise UserError(
            f"cannot write frames to {folder}: it holds other files; give another folder, or take it away"
        )
    partial = folder.with_name(f".{folder.name}.partial")
    if partial.is_dir() and _record_of(partial) != record:
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    write_json(partial / _RECORD, record)
    there = {*os.listdir(partial)}
    for name in there - {*names.values(), _RECORD}:
        os.unlink(partial / name)  # an image that was not finished
    missing = {number: name for number, name in names.items() if name not in there}
    _write(video, partial, missing, record["quality"], workers)
    if folder.is_dir():
        folder.rmdir()  # empty, as was seen
    os.replace(partial, folder)
    return len(missing)


def _record_of(folder: Path) -> Any:
    try:
        return json.loads((folder / _RECORD).read_text())
    except (OSError, ValueError):
        return None


def _write(
    video: VideoFrames, folder: Path, names: dict[int, str], quality: int, workers: int
) -> None:
    """Decode here, encode in threads; Pillow releases the interpreter's lock."""
    waiting: deque[Future[None]] = deque()
    bar = tqdm(names.items(), desc=os.path.basename(video.path), unit="frame", disable=None)
    with ThreadPoolExecutor(workers) as pool:
        for number, name in bar:
            (image,) = video.read([number])
            waiting.append(pool.submit(_save, image, folder / name, quality))
            if len(waiting) > 2 * workers:
                waiting.popleft().result()
        for future in waiting:
            future.result()


def _save(image: np.ndarray, path: Path, quality: int) -> None:
    with replace_on_success(path) as partial:
        if quality:
            Image.fromarray(image).save(partial, quality=quality)
        else:
            # Level 6, the default, takes three times as long for a seventh less.
            Image.fromarray(image).save(partial, compress_level=1)

"""Predictions of a video, or of images, as JSON, written while they come."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from d2video.utils.errors import UserError
from d2video.utils.files import replace_on_success
from d2video.video.frame_source import Frame

Answered = TypeVar("Answered", bound=Frame)


@contextmanager
def open_json(
    path: str | Path,
    head: dict[str, Any],
    record: Callable[[Answered], dict[str, Any]],
    video_record: Callable[[Answered], dict[str, Any]],
) -> Iterator[Callable[[Answered], None]]:
    """Open a JSON file for the predictions of one video, or of images.

    A frame is a line, written at once. The file gets its name at the end, and is removed on an
    exception. Content::

        {"video": name, "height": H, "width": W, "fps": rate,
         "categories": [names] or null,
         "frames": [{"index": 0, "time": seconds, "instances": [
             {"track_id": int, "category_id": int (0-based), "score": 0 to 1,
              "bbox": [x, y, width, height] in pixels,
              "segmentation": {"size": [H, W], "counts": compressed COCO RLE}}, ...]}, ...],
         "num_frames": count}

    Fields that the instances lack are left out. For images the head is ``{"images": name,
    "categories": ...``, and each has ``"file_name"``, ``"height"`` and ``"width"`` in place of
    ``"time"``. A panoptic model adds ``"segments"``, which do not overlap: [{"id": int,
    "category_id": int, "isthing": bool, "segmentation": as above}, ...]. A classifying model adds
    ``"classes"``, best first: [{"category_id": int, "score": 0 to 1}, ...]; those of the whole video
    follow ``"num_frames"``.

    Args:
        path: file to write; its folder is created.
        head: the entries before the frames.
        record: gives the entries of a frame but index, time, name and size.
        video_record: gives the entries of the whole video from its last frame.

    Yields:
        a function that appends a frame.

    Raises:
        UserError: the path cannot be written, or, on appending, the disk refuses.
    """
    with (
        replace_on_success(path) as partial,
        # Buffered by line, so that a full disk shows in put().
        open(partial, "w", encoding="utf-8", buffering=1) as file,
    ):

        def put(text: str) -> None:
            try:
                file.write(text)
            except OSError as error:
                raise UserError(f"cannot write {file.name}: {error.strerror}") from error

        count = 0
        tail: dict[str, Any] = {}

        def write(frame: Answered) -> None:
            nonlocal count, tail
            entries: dict[str, Any] = {"index": frame.index}
            if frame.file_name is None:
                entries["time"] = round(frame.time, 6)
                tail = video_record(frame)
            else:
                height, width = frame.image.shape[:2]
                entries |= {"file_name": frame.file_name, "height": height, "width": width}
            put((",\n" if count else "\n") + json.dumps(entries | record(frame)))
            count += 1

        put(json.dumps(head)[:-1] + ',\n"frames": [')
        yield write
        put(f"\n],\n{json.dumps({'num_frames': count} | tail)[1:]}\n")

"""Predictions of a video as JSON, written while they come."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from detectron2.structures import Instances

from d2video.engine.predictor import VideoFrame
from d2video.structures.rle import encode_masks
from d2video.utils.errors import UserError
from d2video.utils.files import replace_on_success


class VideoResultsWriter:
    """Writes the predictions of one video, one frame at a time; made by :func:`open_results`."""

    def __init__(self, file: TextIO, head: dict[str, Any]) -> None:
        self._file = file
        self._count = 0
        self._put(json.dumps(head)[:-1] + ',\n"frames": [')

    def write(self, frame: VideoFrame) -> None:
        """Append a frame.

        Raises:
            UserError: the disk refuses.
        """
        record = {
            "index": frame.index,
            "time": round(frame.time, 6),
            "instances": _instance_records(frame.instances),
        }
        self._put((",\n" if self._count else "\n") + json.dumps(record))
        self._count += 1

    def finish(self) -> None:
        """Close the JSON document."""
        self._put(f'\n],\n"num_frames": {self._count}}}\n', flush=True)

    def _put(self, text: str, flush: bool = False) -> None:
        try:
            self._file.write(text)
            if flush:
                self._file.flush()
        except OSError as error:
            raise UserError(f"cannot write {self._file.name}: {error.strerror}") from error


@contextmanager
def open_results(
    path: str | os.PathLike[str],
    *,
    video: str,
    size: tuple[int, int],
    fps: float,
    categories: Sequence[str] | None = None,
) -> Iterator[VideoResultsWriter]:
    """Open a JSON file for the predictions of one video.

    Memory holds one frame; each takes one line of the file. The file gets its name at the end, and
    is removed on an exception. Fields that the instances lack are left out. Content::

        {"video": name, "height": H, "width": W, "fps": rate,
         "categories": [names] or null,
         "frames": [{"index": 0, "time": seconds, "instances": [
             {"track_id": int, "category_id": int (0-based), "score": 0 to 1,
              "bbox": [x, y, width, height] in pixels,
              "segmentation": {"size": [H, W], "counts": compressed COCO RLE}}, ...]}, ...],
         "num_frames": count}

    Args:
        path: file to write; its folder is created.
        video: name of the video, for the record.
        size: (H, W) of its frames, in pixels.
        fps: its frames a second.
        categories: class names by index.

    Raises:
        UserError: the path cannot be written.
    """
    head = {
        "video": video,
        "height": size[0],
        "width": size[1],
        "fps": fps,
        "categories": None if categories is None else list(categories),
    }
    with replace_on_success(path) as partial, open(partial, "w", encoding="utf-8") as file:
        writer = VideoResultsWriter(file, head)
        yield writer
        writer.finish()


def _instance_records(instances: Instances) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = [{} for _ in range(len(instances))]

    def fill(name: str, values: Sequence[Any]) -> None:
        for record, value in zip(records, values, strict=True):
            record[name] = value

    if instances.has("track_ids"):
        fill("track_id", instances.track_ids.tolist())
    if instances.has("pred_classes"):
        fill("category_id", instances.pred_classes.tolist())
    if instances.has("scores"):
        fill("score", instances.scores.tolist())
    if instances.has("pred_boxes"):
        boxes = instances.pred_boxes.tensor.clone()
        boxes[:, 2:] -= boxes[:, :2]
        fill("bbox", boxes.tolist())
    if instances.has("pred_masks"):
        codes = encode_masks(instances.pred_masks)
        fill("segmentation", [code | {"counts": code["counts"].decode()} for code in codes])
    return records

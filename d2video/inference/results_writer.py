"""Predictions of a video, or of images, as JSON, written while they come."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import torch
from detectron2.structures import Instances

from d2video.formats.rle import encode_masks
from d2video.inference.streaming import PanopticMap, VideoFrame
from d2video.structures.class_scores import DEFAULT_TOPK, top_classes
from d2video.utils.errors import UserError
from d2video.utils.files import replace_on_success


class VideoResultsWriter:
    """Writes predictions one frame at a time; made by :func:`open_results` and
    :func:`open_image_results`."""

    def __init__(self, file: TextIO, head: dict[str, Any], topk: int) -> None:
        self._file = file
        self._topk = topk
        self._count = 0
        self._video_classes: list[dict[str, Any]] | None = None  # by the last frame
        self._put(json.dumps(head)[:-1] + ',\n"frames": [')

    def write(self, frame: VideoFrame) -> None:
        """Append a frame.

        Raises:
            UserError: the disk refuses.
        """
        record: dict[str, Any] = {"index": frame.index}
        if frame.file_name is None:
            record["time"] = round(frame.time, 6)
        else:
            height, width = frame.image.shape[:2]
            record |= {"file_name": frame.file_name, "height": height, "width": width}
        record["instances"] = _instance_records(frame.instances)
        if frame.panoptic_seg is not None:
            record["segments"] = _segment_records(frame.panoptic_seg)
        if frame.class_scores is not None:
            record["classes"] = [
                {"category_id": index, "score": score}
                for index, score in top_classes(frame.class_scores, self._topk)
            ]
            if frame.file_name is None:
                self._video_classes = record["classes"]
        self._put((",\n" if self._count else "\n") + json.dumps(record))
        self._count += 1

    def finish(self) -> None:
        """Close the JSON document."""
        tail: dict[str, Any] = {"num_frames": self._count}
        if self._video_classes is not None:
            tail["classes"] = self._video_classes
        self._put(f"\n],\n{json.dumps(tail)[1:]}\n", flush=True)

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
    topk: int = DEFAULT_TOPK,
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

    The frames of a panoptic model also have ``"segments"``: [{"id": int, "category_id": int,
    "isthing": bool, "segmentation": as above}, ...], of which no two overlap. Those of a model that
    classifies have ``"classes"``: [{"category_id": int, "score": 0 to 1}, ...], the best ones, best
    first; so has the file itself, at its end: by all frames.

    Args:
        path: file to write; its folder is created.
        video: name of the video, for the record.
        size: (H, W) of its frames, in pixels.
        fps: its frames a second.
        categories: class names by index.
        topk: number of classes of a model that classifies, at least 1.

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
    with _open(path, head, topk) as writer:
        yield writer


@contextmanager
def open_image_results(
    path: str | os.PathLike[str],
    *,
    images: str,
    categories: Sequence[str] | None = None,
    topk: int = DEFAULT_TOPK,
) -> Iterator[VideoResultsWriter]:
    """Open a JSON file for the predictions of images, as :func:`open_results` does for a video.

    The head is ``{"images": name, "categories": [names] or null``; each frame has ``"file_name"``,
    ``"height"`` and ``"width"`` (pixels) in place of ``"time"``. All else is as for a video.

    Args:
        path: file to write; its folder is created.
        images: name of the folder or the image, for the record.
        categories, topk: as there.

    Raises:
        UserError: the path cannot be written.
    """
    head = {"images": images, "categories": None if categories is None else list(categories)}
    with _open(path, head, topk) as writer:
        yield writer


@contextmanager
def _open(
    path: str | os.PathLike[str], head: dict[str, Any], topk: int
) -> Iterator[VideoResultsWriter]:
    with replace_on_success(path) as partial, open(partial, "w", encoding="utf-8") as file:
        writer = VideoResultsWriter(file, head, topk)
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
        fill("segmentation", _mask_codes(instances.pred_masks))
    return records


def _segment_records(panoptic_seg: PanopticMap) -> list[dict[str, Any]]:
    ids, segments = panoptic_seg
    own = torch.tensor([segment["id"] for segment in segments], dtype=ids.dtype)
    codes = _mask_codes(ids == own[:, None, None])
    return [
        {
            "id": segment["id"],
            "category_id": segment["category_id"],
            "isthing": bool(segment["isthing"]),
            "segmentation": code,
        }
        for segment, code in zip(segments, codes, strict=True)
    ]


def _mask_codes(masks: torch.Tensor) -> list[dict[str, Any]]:
    return [code | {"counts": code["counts"].decode()} for code in encode_masks(masks)]

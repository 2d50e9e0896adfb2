"""Result files of YouTube-VIS: written whole, and checked entry by entry.

A file is a JSON list with one entry a predicted track: ``video_id``, ``category_id`` (both as in the
annotation file), ``score`` and ``segmentations``, one compressed RLE or null a frame. The evaluation
servers take it as ``results.json`` at the top of a zip file.
"""

import json
import os
import zipfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from d2video.evaluation.result_files import (
    RESULTS_NAME,
    check_entries,
    fields_fault,
)
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from d2video.formats.geometry.rle_checks import find_mask_faults
from d2video.formats.text import json_kind
from d2video.utils.files import replace_on_success

_FIELDS = ("video_id", "category_id", "score", "segmentations")


def write_results(entries: Iterable[dict[str, Any]], folder: str | os.PathLike[str]) -> Path:
    """Write ``results.json`` and, for the server, ``results.zip``, each whole or not at all.

    Args:
        entries: as in the file; ``counts`` may be bytes.
        folder: created if need be.

    Returns:
        Path of ``results.json``.

    Raises:
        UserError: the folder cannot be created or written.
    """
    path = Path(folder) / RESULTS_NAME
    with replace_on_success(path) as partial, open(partial, "w", encoding="utf-8") as file:
        file.write("[")
        for index, entry in enumerate(entries):
            file.write(",\n" if index else "\n")
            # One entry at a time: json.dump of the whole list bypasses the C encoder.
            file.write(json.dumps(entry, default=_decode, allow_nan=False, separators=(",", ":")))
        file.write("\n]\n")
    with (
        replace_on_success(path.with_suffix(".zip")) as partial,
        zipfile.ZipFile(partial, "w", compression=zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.write(path, arcname=RESULTS_NAME)
    return path


def _decode(value: Any) -> str:
    assert isinstance(value, bytes), f"{type(value).__name__} cannot be written to a result file"
    return value.decode("ascii")


def check_results(results: Any, ground_truth: YTVISGroundTruth, source: str = "results") -> None:
    """Check the content of a result file against the videos and categories of its dataset.

    Args:
        results: as parsed from JSON.
        ground_truth: the annotation file; it needs no labels.
        source: name of the file, for the message.

    Raises:
        UserError: names the first fault with its place: entry, field and, for masks, frame, all
            counted from 0.
    """
    check_entries(results, source, partial(_find_entry_fault, ground_truth=ground_truth))


def _find_entry_fault(entry: Any, ground_truth: YTVISGroundTruth) -> str | None:
    """Where in the entry the first fault is and what, to follow the entry's number in a message."""
    near = {"video_id": "image_id", "segmentations": "segmentation"}
    known = {"video_id": ground_truth.videos, "category_id": ground_truth.categories}
    fault = fields_fault(entry, _FIELDS, near, known, ground_truth.source)
    if fault is not None:
        return fault
    video_id, masks = entry["video_id"], entry["segmentations"]
    if not isinstance(masks, list):
        return f", segmentations: must be a list, not {json_kind(masks)}"
    video = ground_truth.videos[video_id]
    if len(masks) != video.num_frames:
        return (
            f", segmentations: {len(masks)} entries, but video {video_id} has {video.num_frames} "
            "frames; write one for each, null where the object is absent"
        )
    for frame, fault in find_mask_faults(masks, video.height, video.width):
        return f", segmentations, frame {frame}: {fault}"
    return None

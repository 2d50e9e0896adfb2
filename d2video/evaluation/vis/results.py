"""Result files of YouTube-VIS: written whole, read, and checked entry by entry.

A file is a JSON list with one entry a predicted track: ``video_id``, ``category_id`` (both as in the
annotation file), ``score`` and ``segmentations``, one compressed RLE or null a frame. The evaluation
servers take it as ``results.json`` at the top of a zip file.
"""

import json
import lzma
import math
import os
import reprlib
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from d2video.formats.rle_checks import find_mask_faults
from d2video.formats.text import is_id, parse_json
from d2video.utils.errors import UserError
from d2video.utils.files import replace_on_success

RESULTS_NAME = "results.json"
_LARGEST = 2**31  # bytes of an unpacked file
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
    assert isinstance(value, bytes), f"{type(value).__name__} cannot stand in a result file"
    return value.decode("ascii")


def read_results(path: str | os.PathLike[str]) -> Any:
    """The content of a result file, ``.json`` or the server's ``.zip``, unchecked.

    Raises:
        UserError: there is no such file, it is damaged, no JSON, or a zip file without
            ``results.json`` at its top.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"result file {path} does not exist: correct the path")
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                if RESULTS_NAME not in archive.namelist():
                    held = ", ".join(archive.namelist()[:3]) or "nothing"
                    raise UserError(
                        f"{path} holds {held} but no {RESULTS_NAME} at its top: zip the file "
                        "without its folder"
                    )
                size = archive.getinfo(RESULTS_NAME).file_size
                if size > _LARGEST:
                    raise UserError(
                        f"{path}: its {RESULTS_NAME} would have {size} bytes, more than the "
                        f"{_LARGEST} that are read: keep fewer tracks"
                    )
                return parse_json(archive.read(RESULTS_NAME))
        return parse_json(path.read_bytes())
    # What zipfile raises on damaged archives: besides its own, of a bad offset or compression.
    except (
        *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
        *(NotImplementedError, RuntimeError, OverflowError),
    ) as error:
        raise UserError(f"{path} is no sound zip file ({error}): write it again") from error
    except ValueError as error:  # JSONDecodeError, or UnicodeDecodeError for binary files
        raise UserError(f"{path} is not JSON ({error}): write it again") from error


def check_results(results: Any, ground_truth: YTVISGroundTruth, source: str = "results") -> None:
    """Check the content of a result file against the videos and categories of its data set.

    Args:
        results: as parsed from JSON.
        ground_truth: the annotation file; it needs no labels.
        source: name of the file, for the message.

    Raises:
        UserError: names the first fault with its place: entry, field and, for masks, frame, all
            counted from 0.
    """
    if not isinstance(results, list):
        raise UserError(f"{source} must be a list of entries, not {_kind(results)}; write it again")
    for index, entry in enumerate(results):
        fault = _find_entry_fault(entry, ground_truth)
        if fault is not None:
            raise UserError(f"{source}: entry {index}{fault}")


def _find_entry_fault(entry: Any, ground_truth: YTVISGroundTruth) -> str | None:
    """Where in the entry the first fault is and what, to follow the entry's number in a message."""
    if not isinstance(entry, dict):
        return f": must be an object with {', '.join(_FIELDS)}, not {_kind(entry)}"
    for name in _FIELDS:
        if name not in entry:
            near = {"video_id": "image_id", "segmentations": "segmentation"}.get(name)
            found = f" (it has {near}, as results of images have)" if near in entry else ""
            return f": the field {name} is missing{found}; add it"
    video_id, category_id, score, masks = (entry[name] for name in _FIELDS)
    for name, value, known in (
        ("video_id", video_id, ground_truth.videos),
        ("category_id", category_id, ground_truth.categories),
    ):
        if not is_id(value):
            named = [i for i, each in ground_truth.categories.items() if each == value]
            if name == "category_id" and named:
                return f", {name}: {value!r} is the name of category {named[0]}; write its number"
            return f", {name}: must be a whole number, not {_kind(value)} ({reprlib.repr(value)})"
        if value not in known:
            return f", {name}: {value} is not in {ground_truth.source}; use the ids of that file"
    if isinstance(score, bool) or not isinstance(score, int | float):
        return f", score: must be a number, not {_kind(score)}"
    if not math.isfinite(score):
        return f", score: must be finite, not {score}"
    if not isinstance(masks, list):
        return f", segmentations: must be a list, not {_kind(masks)}"
    video = ground_truth.videos[video_id]
    if len(masks) != video.num_frames:
        return (
            f", segmentations: {len(masks)} entries, but video {video_id} has {video.num_frames} "
            "frames; write one for each, null where the object is absent"
        )
    for frame, fault in find_mask_faults(masks, video.height, video.width):
        return f", segmentations, frame {frame}: {fault}"
    return None


def _kind(value: Any) -> str:
    """What JSON calls it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a string"}
    return names.get(type(value), "a number")

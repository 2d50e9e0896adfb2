"""Files of features of frames, extracted beforehand.

A folder holds a file (:func:`file_of`) for each video, with ``features`` (F, C), float32 or float16, and
``frame_index`` (F,) int64; and ``features.json``, which lists them: ``classes`` (names by label, may be
empty), ``source`` (what they were made of and by) and ``videos``, dicts with ``video_id``, ``file``
and, where known, ``label``.

Shapes: F: frames of a video, C: width of the backbone.
"""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from d2video.formats.paths import leaves_folder
from d2video.formats.text import parse_json
from d2video.utils.errors import UserError
from d2video.utils.files import replace_on_success

INDEX = "features.json"


def file_of(record: dict[str, Any]) -> str:
    """The name of the file of a video's features.

    Numbers of videos change when a list or a folder does, and files are replaced; so that one's
    features never go for another's, the name also tells the video and its size in bytes, wherever
    the dataset lies.
    """
    path = Path(record["file_name"])
    size = path.stat().st_size if path.is_file() else 0
    video = "/".join([*path.parts[-2:], str(size)])
    return f"{record['video_id']}-{hashlib.sha256(video.encode()).hexdigest()[:12]}.npz"


def write_features(path: Path, features: Tensor, frame_index: Tensor) -> None:
    """Write the file of a video, which appears whole or not at all.

    Args:
        features: (F, C), float32 or float16.
        frame_index: (F,) int64.
    """
    with replace_on_success(path) as partial:
        np.savez(partial, features=features.cpu().numpy(), frame_index=frame_index.cpu().numpy())


def read_features(path: str | Path) -> tuple[Tensor, Tensor]:
    """Features (F, C) and frame numbers (F,) of a video.

    Raises:
        UserError: the file is missing, damaged, or not a feature file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            features, index = archive["features"], archive["frame_index"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"features {path}: not a readable feature file ({error}): extract them again with "
            "projects/VTN/tools/extract_features.py"
        ) from error
    sound = features.ndim == 2 and features.dtype in (np.float32, np.float16) and len(features)
    if not sound or index.shape != features.shape[:1] or index.dtype != np.int64:
        raise UserError(
            f"features {path}: features {features.dtype} {features.shape} with frame_index "
            f"{index.dtype} {index.shape}, not float (F, C) with int64 (F,): extract them again"
        )
    if index.min() < 0:
        raise UserError(
            f"features {path}: frame_index holds {index.min()}, frames count from 0: extract them again"
        )
    return torch.from_numpy(features), torch.from_numpy(index)


def write_index(
    folder: Path, videos: list[dict[str, Any]], classes: list[str], source: dict[str, str]
) -> None:
    """Write the list of a folder; see the head of this file."""
    content = {"classes": classes, "source": source, "videos": videos}
    with replace_on_success(folder / INDEX) as partial:
        partial.write_text(json.dumps(content, indent=1))


def read_index(folder: Path) -> dict[str, Any]:
    """The content of ``features.json``.

    Raises:
        UserError: it is missing or damaged.
    """
    path = folder / INDEX
    try:
        content = parse_json(path.read_bytes())
        for video in content["videos"]:
            if leaves_folder(video["file"]):
                raise ValueError(f"{video['file']} lies outside the folder")
            video["video_id"]
        content["classes"], content["source"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: missing or damaged ({type(error).__name__}: {error}): run "
            "projects/VTN/tools/extract_features.py to its end"
        ) from error
    return content

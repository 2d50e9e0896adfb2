"""Generated videos on disk in YouTube-VIS format."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from d2video.utils.errors import UserError

from .render import ShapesVideo, render_video, video_rng
from .scene import ShapesSpec

# Raised when the same arguments give other videos than before, so that old folders are not reused.
GENERATOR_VERSION = 1
SPEC_FILE = "spec.json"


def write_ytvis_shapes(
    root: str | os.PathLike,
    splits: Mapping[str, int],
    spec: ShapesSpec | None = None,
    seed: int = 0,
    *,
    compressed: bool = True,
    jpeg_quality: int = 95,
    reuse: bool = True,
    overwrite: bool = False,
    progress: bool = True,
) -> bool:
    """Write a dataset: ``<root>/<split>/JPEGImages/<video>/00000.jpg`` and ``<root>/<split>.json``.

    The JSON has ``categories``, ``videos`` and ``annotations`` as YouTube-VIS has them: one
    annotation an object, with lists over the frames of ``segmentations`` (COCO RLE), ``bboxes``
    (XYWH, pixels) and ``areas`` (pixels), null where the object cannot be seen. All ids start at 1.
    The folder appears under its name only when it is complete.

    Args:
        splits: name of each split and how many videos it has.
        spec: what the videos look like (default: ``ShapesSpec()``).
        seed: video ``index`` of a split depends on seed, split name and index alone.
        compressed: RLE counts as a string; False: as a list of run lengths.
        jpeg_quality: 1..100.
        reuse: keep a folder that was made with the same arguments.
        overwrite: replace a dataset of this generator that was made with other arguments (or, with
            ``reuse=False``, any). Other folders are never replaced.
        progress: show a progress bar per split.

    Returns:
        True if the dataset was written, False if the one there was kept.

    Raises:
        UserError: for a ``root`` that cannot be created, or that exists and is neither to be reused
            nor to be replaced, a split that is empty or has a name no folder can have, and a wrong
            ``jpeg_quality``.
    """
    spec = spec or ShapesSpec()
    root = Path(root)
    if not splits or any(count < 1 for count in splits.values()):
        raise UserError(f"shapes dataset {root}: every split needs at least one video: {splits}")
    for name in splits:
        if not name or name != Path(name).name:
            raise UserError(f"shapes dataset {root}: {name!r} cannot be the name of a split")
    if not 1 <= jpeg_quality <= 100:
        raise UserError(f"shapes dataset {root}: jpeg_quality is {jpeg_quality}, must be 1..100")
    record = {
        "generator": "d2video.data.shapes",
        "version": GENERATOR_VERSION,
        "arguments": {
            "splits": dict(splits),
            "spec": asdict(spec),
            "seed": seed,
            "compressed": compressed,
            "jpeg_quality": jpeg_quality,
        },
    }
    record = json.loads(json.dumps(record))  # tuples become lists, as in a record read from disk
    if _keep_existing(root, record, reuse, overwrite):
        return False

    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{root.name}.partial-", dir=root.parent))
    except OSError as error:
        raise UserError(f"cannot make a folder in {root.parent}: {error.strerror}") from error
    try:
        for name, count in splits.items():
            _write_split(partial, name, count, spec, seed, compressed, jpeg_quality, progress)
        (partial / SPEC_FILE).write_text(json.dumps(record, indent=1) + "\n")
        partial.chmod(0o755)  # mkdtemp makes it private
        if root.exists():
            shutil.rmtree(root)
        partial.rename(root)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return True


def _keep_existing(root: Path, record: dict, reuse: bool, overwrite: bool) -> bool:
    """Whether ``root`` holds what ``record`` describes; refuses to touch what it must not."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / SPEC_FILE).read_text())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("generator") != record["generator"]:
        raise UserError(f"{root} exists and is no generated shapes dataset: choose another folder")
    if reuse and found == record:
        return True
    if not overwrite:
        state = "the same" if found == record else "other"
        raise UserError(
            f"{root} holds a shapes dataset made with {state} arguments ({root / SPEC_FILE}): "
            "choose another folder or ask for it to be overwritten"
        )
    return False


def _write_split(
    root: Path,
    split: str,
    count: int,
    spec: ShapesSpec,
    seed: int,
    compressed: bool,
    jpeg_quality: int,
    progress: bool,
) -> None:
    images = root / split / "JPEGImages"
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in tqdm(range(count), desc=f"shapes {split}", unit="video", disable=not progress):
        video = render_video(spec, video_rng(seed, split, index))
        folder = f"{index:05d}"
        (images / folder).mkdir(parents=True)
        names = [f"{folder}/{t:05d}.jpg" for t in range(len(video.frames))]
        for name, frame in zip(names, video.frames, strict=True):
            bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
            if not cv2.imwrite(str(images / name), bgr, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]):
                raise UserError(f"cannot write {images / name}: is the disk full?")
        videos.append(
            {
                "id": index + 1,
                "file_names": names,
                "height": spec.height,
                "width": spec.width,
                "length": len(names),
            }
        )
        annotations += _annotations(video, index + 1, len(annotations) + 1, compressed)
    dataset = {
        "info": {"description": "d2video shapes", "version": GENERATOR_VERSION, "seed": seed},
        "categories": [
            {"id": index + 1, "name": name, "supercategory": "shape"}
            for index, name in enumerate(spec.classes)
        ],
        "videos": videos,
        "annotations": annotations,
    }
    (root / f"{split}.json").write_text(json.dumps(dataset))


def _annotations(
    video: ShapesVideo, video_id: int, first_id: int, compressed: bool
) -> list[dict[str, Any]]:
    """The annotations of one video, one an object."""
    length, height, width = video.masks.shape[1:]
    result = []
    for offset, (masks, label) in enumerate(zip(video.masks, video.classes, strict=True)):
        rles = coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8))
        areas, bboxes = coco_mask.area(rles).tolist(), coco_mask.toBbox(rles).tolist()
        visible = [area > 0 for area in areas]
        segmentations = [
            {
                "size": [height, width],
                "counts": rle["counts"].decode() if compressed else _run_lengths(mask),
            }
            for rle, mask in zip(rles, masks, strict=True)
        ]
        result.append(
            {
                "id": first_id + offset,
                "video_id": video_id,
                "category_id": int(label) + 1,
                "iscrowd": 0,
                "height": height,
                "width": width,
                "length": length,
                "segmentations": _where(visible, segmentations),
                "bboxes": _where(visible, bboxes),
                "areas": _where(visible, areas),
            }
        )
    return result


def _where(visible: list[bool], values: list) -> list:
    return [value if seen else None for seen, value in zip(visible, values, strict=True)]


def _run_lengths(mask: np.ndarray) -> list[int]:
    """Uncompressed COCO RLE counts: runs in column order, the first one of zeros."""
    flat = mask.flatten(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(bounds).tolist()
    return [0, *counts] if flat[0] else counts

"""Generated videos on disk in YouTube-VIS format."""

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from d2video.synthetic.files import encode_masks, thing_categories, write_image
from d2video.synthetic.folder import GENERATOR_VERSION, Samples, register_format, write_folder
from d2video.synthetic.render import ShapesVideo, render_video
from d2video.synthetic.spec import ShapesSpec


@register_format("ytvis", ShapesSpec(), compressed=True, jpeg_quality=95)
def write_ytvis_shapes(
    root: str | os.PathLike,
    splits: Mapping[str, int],
    spec: ShapesSpec | None = None,
    seed: int = 0,
    *,
    compressed: bool = True,
    jpeg_quality: int = 95,
    **how: Any,
) -> bool:
    """Write a dataset: ``<root>/<split>/JPEGImages/<video>/00000.jpg`` and ``<root>/<split>.json``.

    The JSON has ``categories``, ``videos`` and ``annotations`` as YouTube-VIS has them: one
    annotation for each object that is seen, with lists over the frames of ``segmentations`` (COCO
    RLE), ``bboxes`` (XYWH, pixels) and ``areas`` (pixels), null where the object cannot be seen. All
    ids start at 1.

    Args:
        splits: name of each split and how many videos it has.
        spec: what the videos look like (default: ``ShapesSpec()``).
        compressed: RLE counts as a string; False: as a list of run lengths.
        jpeg_quality: 1..100.
        seed, how: as in :func:`write_folder`.

    Returns:
        True if the dataset was written, False if the one there was kept.

    Raises:
        UserError: as :func:`write_folder`.
    """
    spec = spec or ShapesSpec()

    return write_folder(
        root,
        splits,
        spec,
        seed,
        {"compressed": compressed, "jpeg_quality": jpeg_quality},
        partial(
            _write_split, spec=spec, seed=seed, compressed=compressed, jpeg_quality=jpeg_quality
        ),
        entries=lambda name: (name, f"{name}.json"),
        **how,
    )


def _write_split(
    root: Path,
    split: str,
    samples: Samples,
    *,
    spec: ShapesSpec,
    seed: int,
    compressed: bool,
    jpeg_quality: int,
) -> None:
    images = root / split / "JPEGImages"
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, rng in samples:
        video = render_video(spec, rng)
        folder = f"{index:05d}"
        (images / folder).mkdir(parents=True)
        names = [f"{folder}/{t:05d}.jpg" for t in range(len(video.frames))]
        for name, frame in zip(names, video.frames, strict=True):
            write_image(images / name, frame, jpeg_quality)
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
        "categories": thing_categories(spec),
        "videos": videos,
        "annotations": annotations,
    }
    (root / f"{split}.json").write_text(json.dumps(dataset))


def _annotations(
    video: ShapesVideo, video_id: int, first_id: int, compressed: bool
) -> list[dict[str, Any]]:
    """The annotations of one video, one for each object that is seen in it."""
    length, height, width = video.masks.shape[1:]
    result: list[dict[str, Any]] = []
    for masks, label in zip(video.masks, video.classes, strict=True):
        rles, areas, bboxes = encode_masks(masks)
        visible = [area > 0 for area in areas]
        if not any(visible):
            continue  # hidden throughout: evaluation would count it as missed by every model
        if compressed:
            segmentations = rles
        else:
            segmentations = [
                {"size": [height, width], "counts": _run_lengths(mask)} for mask in masks
            ]
        result.append(
            {
                "id": first_id + len(result),
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

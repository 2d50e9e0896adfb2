"""Generated images on disk in COCO format: instances, and panoptic segmentation."""

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from d2video.synthetic.files import encode_masks, thing_categories, write_image
from d2video.synthetic.folder import GENERATOR_VERSION, Samples, register_format, write_folder
from d2video.synthetic.image import image_spec, render_image
from d2video.synthetic.panoptic import panoptic_annotation, panoptic_categories
from d2video.synthetic.spec import ShapesSpec
from d2video.synthetic.stuff import STUFF_NAMES
from d2video.utils.errors import UserError

# An image is one moment of a scene.
_UNUSED = ("num_frames", "duration", "speed")


@register_format("coco", ShapesSpec(), {"panoptic": False}, _UNUSED, jpeg_quality=95)
@register_format(
    "panoptic", ShapesSpec(stuff=STUFF_NAMES), {"panoptic": True}, _UNUSED, jpeg_quality=95
)
def write_coco_shapes(
    root: str | os.PathLike,
    splits: Mapping[str, int],
    spec: ShapesSpec | None = None,
    seed: int = 0,
    *,
    panoptic: bool = False,
    jpeg_quality: int = 95,
    **how: Any,
) -> bool:
    """Write a dataset of single images in COCO format.

    ``<root>/<split>/<image id>.jpg`` and ``<root>/annotations/instances_<split>.json``, one
    annotation an object: ``segmentation`` (compressed RLE of the visible part), ``bbox`` (XYWH) and
    ``area`` in pixels, ``iscrowd`` 0. Every image has an object. With ``panoptic`` also
    ``<root>/panoptic_<split>/<image id>.png``, in which every pixel carries the id of its segment
    (R + 256 G + 65536 B), and ``<root>/annotations/panoptic_<split>.json``. Image and annotation
    ids start at 1; category ids are 1..K for the K shape classes, then K+1..K+S for the stuff.

    Args:
        splits: name of each split and how many images it has.
        spec: what the images look like (default: ``ShapesSpec()``, with all of ``STUFF_NAMES`` if
            ``panoptic``); its ``num_frames``, ``duration`` and ``speed`` do not matter.
        panoptic: write panoptic labels too. They change nothing in the other files.
        jpeg_quality: 1..100.
        seed, how: as in :func:`write_folder`.

    Returns:
        True if the dataset was written, False if the one there was kept.

    Raises:
        UserError: for panoptic labels without stuff in the specification, or as :func:`write_folder`
            and :func:`render_image`.
    """
    spec = image_spec(spec or ShapesSpec(stuff=STUFF_NAMES if panoptic else ()))
    if panoptic and not spec.stuff:
        raise UserError(
            f"shapes dataset {root}: panoptic labels need stuff: name classes for the background, "
            f"of {', '.join(STUFF_NAMES)}"
        )

    return write_folder(
        root,
        splits,
        spec,
        seed,
        {"format": "panoptic" if panoptic else "coco", "jpeg_quality": jpeg_quality},
        partial(_write_split, spec=spec, seed=seed, panoptic=panoptic, jpeg_quality=jpeg_quality),
        entries=lambda name: (name, f"panoptic_{name}"),
        shared=("annotations",),
        **how,
    )


def _write_split(
    root: Path,
    split: str,
    samples: Samples,
    *,
    spec: ShapesSpec,
    seed: int,
    panoptic: bool,
    jpeg_quality: int,
) -> None:
    folders = [root / split, root / "annotations"]
    folders += [root / f"panoptic_{split}"] if panoptic else []
    for folder in folders:
        folder.mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    instances: list[dict[str, Any]] = []
    panoptics: list[dict[str, Any]] = []
    for index, rng in samples:
        image_id = index + 1
        drawn = render_image(spec, rng)
        masks = drawn.masks[:, 0]
        name = f"{image_id:012d}"
        write_image(root / split / f"{name}.jpg", drawn.frames[0], jpeg_quality)
        images.append(
            {
                "id": image_id,
                "file_name": f"{name}.jpg",
                "height": spec.height,
                "width": spec.width,
            }
        )
        instances += _annotations(masks, drawn.classes, image_id, len(instances) + 1)
        if panoptic:
            assert drawn.stuff is not None
            pixels, segments = panoptic_annotation(
                masks, drawn.classes, drawn.stuff[0], len(spec.classes)
            )
            file_name = f"{name}.png"
            write_image(root / f"panoptic_{split}" / file_name, pixels)
            panoptics.append(
                {"image_id": image_id, "file_name": file_name, "segments_info": segments}
            )

    info = {"description": "d2video shapes", "version": GENERATOR_VERSION, "seed": seed}
    files = {"instances": (thing_categories(spec), instances)}
    if panoptic:
        files["panoptic"] = (panoptic_categories(spec), panoptics)
    for kind, (categories, annotations) in files.items():
        content = {
            "info": info,
            "licenses": [],
            "categories": categories,
            "images": images,
            "annotations": annotations,
        }
        (root / "annotations" / f"{kind}_{split}.json").write_text(json.dumps(content))


def _annotations(
    masks: np.ndarray, classes: np.ndarray, image_id: int, first_id: int
) -> list[dict[str, Any]]:
    """The annotations of one image, one an object, from masks (N, H, W) and classes (N,)."""
    return [
        {
            "id": first_id + offset,
            "image_id": image_id,
            "category_id": int(label) + 1,
            "iscrowd": 0,
            "segmentation": rle,
            "bbox": box,
            "area": area,
        }
        for offset, (label, rle, area, box) in enumerate(
            zip(classes, *encode_masks(masks), strict=True)
        )
    ]

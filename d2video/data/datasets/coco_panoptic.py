"""Register datasets in COCO panoptic format whose classes are listed in the annotation file."""

import os
from functools import partial
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.file_io import PathManager

from d2video.data.datasets.from_config import dataset_format
from d2video.data.records import ImageRecord
from d2video.formats.coco_panoptic import PanopticFile
from d2video.formats.faults import Fault, Report, refuse
from d2video.utils.errors import UserError


@dataset_format("coco_panoptic")
def register_coco_panoptic(
    name: str,
    metadata: dict[str, Any],
    image_root: str,
    panoptic_root: str,
    panoptic_json: str,
    instances_json: str | None = None,
) -> None:
    """Register a dataset as detectron2's function of this name does, but read the classes on first use.

    Args:
        metadata: set on the dataset's ``MetadataCatalog`` entry besides the paths (``json_file`` is
            that of the instances), ``evaluator_type`` ("coco_panoptic_seg"), ``ignore_label`` and
            ``label_divisor``; may be empty. What :func:`panoptic_metadata` gives is set when the
            dataset is read, and must agree.
        image_root, panoptic_root: folders of the images and of the label images (.png).
        instances_json: the instances of the same images, for evaluators.
    """
    load = partial(load_coco_panoptic, panoptic_json, image_root, panoptic_root, name)
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(
        panoptic_root=panoptic_root,
        image_root=image_root,
        panoptic_json=panoptic_json,
        json_file=instances_json,
        evaluator_type="coco_panoptic_seg",
        ignore_label=255,
        label_divisor=1000,
        **metadata,
    )


def load_coco_panoptic(
    panoptic_json: str,
    image_root: str,
    panoptic_root: str,
    dataset_name: str,
    report: Report = refuse,
) -> list[ImageRecord]:
    """Read one file of the COCO panoptic format and set the dataset's classes; no image is opened.

    Args:
        image_root, panoptic_root: folders of the images and of the label images. Images that the file does
            not list by name are called as their label images are, with .jpg.
        dataset_name: whose metadata are set, see :func:`panoptic_metadata`.
        report: takes the faults of annotations, see :meth:`PanopticFile.read`, and a first image
            that is not there.

    Returns:
        As detectron2's ``load_coco_panoptic_json``, one dict an image, in the order of the file, besides
        with ``height`` and ``width`` where the file states them;
        ``category_id`` is contiguous over things, then stuff, and ``isthing`` a bool.

    Raises:
        UserError: as :meth:`PanopticFile.read`, or classes that differ from the registered ones.
    """
    file = PanopticFile.read(panoptic_json, report)
    found = panoptic_metadata(file)
    meta = MetadataCatalog.get(dataset_name)
    for key, value in found.items():
        if meta.get(key, value) != value:
            raise UserError(
                f"{panoptic_json}: its {key} are not those that dataset {dataset_name} is registered "
                "with; use the file of that dataset or register this one by another name"
            )
    things, stuff = (found[f"{kind}_dataset_id_to_contiguous_id"] for kind in ("thing", "stuff"))
    records: list[ImageRecord] = []
    for each in file.annotations:
        stem, _ = os.path.splitext(each["file_name"])
        image_id = int(each["image_id"])
        image = file.images.get(image_id, f"{stem}.jpg")
        record: ImageRecord = {
            "file_name": os.path.join(image_root, image),
            "image_id": image_id,
            "pan_seg_file_name": os.path.join(panoptic_root, each["file_name"]),
            "segments_info": [
                segment
                | {
                    "category_id": (things | stuff)[segment["category_id"]],
                    "isthing": segment["category_id"] in things,
                }
                for segment in each["segments_info"]
            ],
        }
        if image_id in file.sizes:  # checked when the image is read
            record["height"], record["width"] = file.sizes[image_id]
        records.append(record)
    for first in records[:1]:  # rather than stop at the first sample
        for path in (first["file_name"], first["pan_seg_file_name"]):
            if not PathManager.isfile(path):
                report(Fault(path, "file", None, f"{path} does not exist: put the images there"))
    meta.set(**found)
    return records


def panoptic_metadata(file: PanopticFile) -> dict[str, Any]:
    """The classes of a file in COCO panoptic format, as detectron2's standard metadata has them.

    Returns:
        ``thing_classes`` and ``stuff_classes``: both the names of *all* classes, things before stuff,
        each in the order of their ids, so that either can be indexed by a contiguous id;
        ``thing_dataset_id_to_contiguous_id`` (onto 0..K-1 for K things) and
        ``stuff_dataset_id_to_contiguous_id`` (onto K..K+S-1).
    """
    # The order of detectron2's COCO_CATEGORIES.
    ordered = sorted(file.categories, key=lambda each: (not each["isthing"], each["id"]))
    names = [each["name"] for each in ordered]
    things: dict[int, int] = {}
    stuff: dict[int, int] = {}
    for position, each in enumerate(ordered):
        (things if each["isthing"] else stuff)[each["id"]] = position
    return {
        "thing_classes": names,
        "stuff_classes": list(names),
        "thing_dataset_id_to_contiguous_id": things,
        "stuff_dataset_id_to_contiguous_id": stuff,
    }

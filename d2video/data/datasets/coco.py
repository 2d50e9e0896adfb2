"""Datasets of COCO instances."""

import logging
import os
from collections import defaultdict
from functools import partial
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from d2video.data.datasets.class_metadata import set_classes
from d2video.data.datasets.coco_panoptic import load_coco_panoptic
from d2video.data.datasets.from_config import dataset_format
from d2video.data.records import Annotation, ImageRecord, Record
from d2video.formats.coco import Instance, read_coco_instances
from d2video.formats.faults import Report, refuse
from d2video.formats.image_folders import find_folder_of
from d2video.utils.collection import paused_collection
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)


@dataset_format("coco")
def register_coco(
    name: str, metadata: dict[str, Any], json_file: str, image_root: str | None = None
) -> None:
    """Register a file of COCO instances under ``name``; it is read on first use.

    Args:
        metadata: set on the dataset's ``MetadataCatalog`` entry, e.g. ``thing_classes`` (checked
            against the file when it is read) and ``thing_colors``; may be empty.
        image_root: the folder that the file's ``file_name`` are relative to; None: looked for when the
            file is read, beside it (where Roboflow puts images) and in ``images`` or ``JPEGImages``.
    """
    DatasetCatalog.register(name, partial(load_coco_instances, json_file, image_root, name))
    MetadataCatalog.get(name).set(json_file=json_file, evaluator_type="coco", **metadata)
    if image_root is not None:
        MetadataCatalog.get(name).set(image_root=image_root)


@paused_collection()
def load_coco_instances(
    json_file: str,
    image_root: str | None,
    dataset_name: str | None = None,
    report: Report = refuse,
) -> list[ImageRecord]:
    """Read one file; no image is opened.

    Args:
        image_root: see :func:`register_coco`.
        dataset_name: if given, ``thing_classes`` and ``thing_dataset_id_to_contiguous_id`` of this
            ``MetadataCatalog`` entry are set from the file.
        report: see :func:`~d2video.formats.coco.read_coco_instances`.

    Returns:
        One dict an image, by ascending id, as detectron2's ``load_coco_json`` makes them of sound
        files: category ids are contiguous from 0 in the order of the file's ids, and half a pixel is
        added to key points. Without labels there are no ``annotations``.

    Raises:
        UserError: the file is missing, not JSON or in another format; its categories differ from the
            registered ones; or the folder of its images is not given and not found.
    """
    file = read_coco_instances(json_file, report)
    contiguous_id = {category_id: k for k, category_id in enumerate(file.categories)}
    if dataset_name is not None:
        set_classes(dataset_name, [*file.categories.values()], contiguous_id, json_file)
    if image_root is None:
        names = (image["file_name"] for image in file.images.values())
        image_root = find_folder_of(names, json_file, json_file)
        if dataset_name is not None:
            MetadataCatalog.get(dataset_name).set(image_root=image_root)
    objects: dict[int | str, list[Annotation]] = defaultdict(list)
    for instance in file.instances or ():
        objects[instance["image_id"]].append(_annotation(instance, contiguous_id))
    records: list[ImageRecord] = []
    for image_id, image in sorted(file.images.items()):
        record: ImageRecord = {
            "file_name": os.path.join(image_root, image["file_name"]),
            "height": image["height"],
            "width": image["width"],
            "image_id": image_id,
        }
        if file.instances is not None:
            record["annotations"] = objects[image_id]
        records.append(record)
    logger.info("Read %d images from %s", len(records), json_file)
    return records


def _annotation(instance: Instance, contiguous_id: dict[int, int]) -> Annotation:
    annotation: Annotation = {
        "iscrowd": instance["iscrowd"],
        "bbox": instance["bbox"],
        "category_id": contiguous_id[instance["category_id"]],
        "bbox_mode": BoxMode.XYWH_ABS,
    }
    if "segmentation" in instance:
        annotation["segmentation"] = instance["segmentation"]
    if instance.get("keypoints"):
        # In COCO they are the numbers of pixels, in detectron2 places on the image.
        points = instance["keypoints"]
        annotation["keypoints"] = [v if k % 3 == 2 else v + 0.5 for k, v in enumerate(points)]
    return annotation


def load_checked(name: str, load: Any, report: Report) -> list[Record]:
    """The records of a dataset whose loader does not take a ``report``.

    What detectron2's own functions have registered in COCO's formats (coco_2017_*, your
    ``register_coco_instances``) is read by d2video's readers. Of any other loader the file of COCO
    instances that its metadata name is checked besides.

    Raises:
        UserError: the file is missing or in another format, or the loader fails.
    """
    meta = MetadataCatalog.get(name)
    path, kind = meta.get("json_file"), meta.get("evaluator_type")
    by_detectron2 = getattr(load, "__module__", "").startswith("detectron2.")
    # Separated panoptic datasets have semantic label images instead.
    if by_detectron2 and kind == "coco_panoptic_seg" and meta.get("sem_seg_root") is None:
        roots = meta.image_root, meta.panoptic_root
        return [*load_coco_panoptic(meta.panoptic_json, *roots, name, report)]
    if path and kind == "coco":
        if by_detectron2:
            return [*load_coco_instances(path, meta.image_root, name, report)]
        read_coco_instances(path, report)
    try:
        return load()
    except (AssertionError, OSError) as error:  # how detectron2 says that a file is missing
        raise UserError(f"dataset {name} cannot be read ({error}): check its paths") from error

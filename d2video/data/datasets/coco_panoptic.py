"""Register datasets in COCO panoptic format whose classes stand in the annotation file."""

from functools import partial
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.coco_panoptic import load_coco_panoptic_json
from detectron2.utils.file_io import PathManager

from d2video.formats.coco_panoptic import check_panoptic_content
from d2video.formats.json_text import parse_json
from d2video.utils.errors import UserError


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
        name: as it will stand in ``DATASETS.TRAIN`` or ``DATASETS.TEST``.
        metadata: set on the dataset's ``MetadataCatalog`` entry besides the paths (``json_file`` is
            that of the instances), ``evaluator_type`` ("coco_panoptic_seg"), ``ignore_label`` and
            ``label_divisor``; may be empty. What :func:`read_panoptic_metadata` gives is set when the
            dataset is read, and must agree.
        image_root, panoptic_root: folders of the images (.jpg) and of the label images (.png).
        panoptic_json: the panoptic annotation file.
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
    panoptic_json: str, image_root: str, panoptic_root: str, dataset_name: str
) -> list[dict[str, Any]]:
    """Read one file of the COCO panoptic format and set the dataset's classes; no image is opened.

    Returns:
        As detectron2's ``load_coco_panoptic_json``, one dict an image, in the order of the file:
        ``file_name``, ``image_id``, ``pan_seg_file_name`` and ``segments_info``, the file's dicts
        with ``category_id`` contiguous over things, then stuff, and ``isthing`` (bool).

    Raises:
        UserError: as :func:`read_panoptic_metadata`, or classes that differ from the registered ones.
    """
    found = read_panoptic_metadata(panoptic_json)
    meta = MetadataCatalog.get(dataset_name)
    for key, value in found.items():
        if meta.get(key, value) != value:
            raise UserError(
                f"{panoptic_json}: its {key} are not those that dataset {dataset_name} is registered "
                "with; use the file of that dataset or register this one by another name"
            )
    records = load_coco_panoptic_json(panoptic_json, image_root, panoptic_root, found)
    meta.set(**found)
    return records


def read_panoptic_metadata(panoptic_json: str) -> dict[str, Any]:
    """The classes of a file in COCO panoptic format, as detectron2's standard metadata has them.

    Args:
        panoptic_json: path, local or anything that detectron2's PathManager reads.

    Returns:
        ``thing_classes`` and ``stuff_classes``: both the names of *all* classes, things before stuff,
        each in the order of their ids, so that either can be indexed by a contiguous id;
        ``thing_dataset_id_to_contiguous_id`` (onto 0..K-1 for K things) and
        ``stuff_dataset_id_to_contiguous_id`` (onto K..K+S-1).

    Raises:
        UserError: the file is missing, no JSON, or not in the format, in its annotations too (which
            detectron2 does not check).
    """
    if not PathManager.isfile(panoptic_json):
        raise UserError(
            f"annotation file {panoptic_json} does not exist: set DETECTRON2_DATASETS, mend the path, "
            "or make the dataset"
        )
    try:
        with PathManager.open(panoptic_json, "r", encoding="utf-8") as file:
            content = parse_json(file.read())
        check_panoptic_content(content)
        categories = content["categories"]
        # The order of detectron2's COCO_CATEGORIES.
        ordered = sorted(categories, key=lambda each: (not each["isthing"], each["id"]))
        names = [each["name"] for each in ordered]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{panoptic_json} is not in COCO panoptic format ({type(error).__name__}: {error}): give "
            "a JSON file with categories that have id, name and isthing, and annotations of segments"
        ) from None
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

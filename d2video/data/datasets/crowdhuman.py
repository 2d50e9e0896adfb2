"""Read and register CrowdHuman, images of people without tracks.

The annotation file (``.odgt``) holds one JSON object a line: ``ID`` (name of the image) and
``gtboxes``, each with ``tag`` ("person", or "mask" for a region to be ignored), ``fbox`` (the full
body, left, top, width, height in pixels, also where it is hidden or outside the image) and,
optionally, ``extra`` with ``ignore``.
"""

import logging
import math
import os
from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from d2video.data.datasets.from_config import dataset_format
from d2video.data.records import ImageRecord
from d2video.formats.faults import Doubt, EntryError, Report, Tally, refuse, reporting
from d2video.formats.geometry.box_layout import layout_doubt
from d2video.formats.geometry.boxes import is_box, unusable_box
from d2video.formats.paths import leaves_folder
from d2video.formats.text import as_json, parse_json, read_lines
from d2video.utils.errors import UserError
from d2video.video.image_io import read_image_size

logger = logging.getLogger(__name__)

_IMAGES_LOOKED_AT = 100


@dataset_format("crowdhuman")
def register_crowdhuman(
    name: str, odgt: str, image_root: str, *, class_name: str = "person"
) -> None:
    """Register images in CrowdHuman's format under ``name``; the file is read on first use.

    The metadata name no evaluator: CrowdHuman is there to train on.

    Args:
        odgt: the annotation file.
        image_root: folder of the images, ``<ID>.jpg``.
        class_name: of the people; datasets that are trained on together need the same.
    """
    DatasetCatalog.register(name, partial(load_crowdhuman, odgt, image_root))
    MetadataCatalog.get(name).set(image_root=image_root, thing_classes=[class_name])


def load_crowdhuman(odgt: str, image_root: str, report: Report = refuse) -> list[ImageRecord]:
    """Read an annotation file, and the heads of a few images, whose sizes tell the boxes' layout.

    Args:
        odgt, image_root: see :func:`register_crowdhuman`.
        report: takes the faults of lines, and what is left out: regions and persons to be ignored,
            and boxes without area.

    Returns:
        one record an image, in the order of the file. ``image_id`` is the file's ID, ``bbox`` the full
        body, which may overflow the image, ``category_id`` 0. The file does not state the sizes of
        images.

    Raises:
        UserError: the file or the folder of the images is missing, or the file names no image.
    """
    records: dict[str, ImageRecord] = {}
    tally = Tally(odgt, "boxes")
    lines = [(number, line) for number, line in enumerate(read_lines(odgt), 1) if line.strip()]
    for number, line in lines:
        with reporting(report, odgt, "line", number):
            of_line = Tally(odgt, "boxes")
            try:
                entry = parse_json(line)
                image, boxes = _image(entry["ID"]), _full_bodies(entry["gtboxes"], of_line)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise EntryError(
                    f"it is not an annotation of CrowdHuman ({type(error).__name__}: {error}): it "
                    "needs ID and gtboxes with tag and fbox (four numbers); fetch or correct the file"
                ) from None
            if image in records:
                raise EntryError(f"image {image} is there twice; correct the file")
            if leaves_folder(image):
                raise EntryError(f"image {image} lies outside the image root; correct the file")
            tally.add(of_line.left_out())
            records[image] = {
                "file_name": os.path.join(image_root, f"{image}.jpg"),
                "image_id": image,
                "annotations": [
                    {"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "iscrowd": 0}
                    for box in boxes
                ],
            }
    if not lines:
        raise UserError(f"{odgt} names no image: fetch it again")
    if not os.path.isdir(image_root):
        raise UserError(
            f"folder {image_root} does not exist: put the images of {odgt} there (ID.jpg), or set "
            "DETECTRON2_DATASETS"
        )
    tally.tell(report)
    doubt = _layout_doubt(odgt, records.values())
    if doubt is not None:
        report(doubt)
    logger.info("Read %d images from %s", len(records), odgt)
    return [*records.values()]


def _layout_doubt(odgt: str, records: Iterable[ImageRecord]) -> Doubt | None:
    """By the sizes of the first images, which the file does not state."""
    boxes: list[Any] = []
    sizes: list[tuple[float, float]] = []
    for record in islice((each for each in records if each["annotations"]), _IMAGES_LOOKED_AT):
        try:
            size: tuple[float, float] = read_image_size(record["file_name"])
        except UserError:  # its reader says what is wrong
            size = math.inf, math.inf
        boxes += [annotation["bbox"] for annotation in record["annotations"]]
        sizes += [size] * len(record["annotations"])
    return layout_doubt(odgt, boxes, sizes, whole_bodies=True)


def _image(value: Any) -> str:
    """The name of an image."""
    if not isinstance(value, str):
        raise ValueError(f"ID {as_json(value)}")
    return value


def _full_bodies(entries: list[dict[str, Any]], tally: Tally) -> list[list[float]]:
    """The boxes of an image that are used; ``tally`` counts the others."""
    boxes = []
    for entry in entries:
        tag, ignore = entry["tag"], entry.get("extra", {}).get("ignore", 0)
        if not isinstance(tag, str) or ignore not in (0, 1):
            raise ValueError(f"tag {as_json(tag)}, ignore {as_json(ignore)}")
        if tag != "person" or ignore:
            tally.leave_out("with ignore 1" if tag == "person" else f"with tag {tag!r}")
            continue
        box = entry["fbox"]
        if not is_box(box):
            raise ValueError(f"fbox {as_json(box)}")
        reason = unusable_box(box)
        if reason is None:
            tally.used += 1
            boxes.append([float(number) for number in box])
        else:
            tally.leave_out(reason)
    return boxes

"""Data sets of COCO instances, which detectron2 registers and reads once their file is checked."""

import json
import os
import tempfile
from typing import Any

from detectron2.data import MetadataCatalog
from detectron2.data.datasets import load_coco_json, register_coco_instances

from d2video.data.datasets.coco_panoptic import load_coco_panoptic
from d2video.data.datasets.from_config import dataset_format
from d2video.data.records import Record
from d2video.formats.coco import read_coco_instances
from d2video.formats.coco_panoptic import PanopticFile
from d2video.formats.faults import Fault, Finding, Report, refuse
from d2video.utils.errors import UserError


@dataset_format("coco")
def register_coco(name: str, metadata: dict[str, Any], json_file: str, image_root: str) -> None:
    """Register a file of COCO instances, see detectron2's ``register_coco_instances``."""
    register_coco_instances(name, metadata, json_file, image_root)


def load_coco_instances(json_file: str, image_root: str, report: Report = refuse) -> list[Record]:
    """The records of the sound entries of a file, as detectron2's ``load_coco_json`` makes them.

    ``report`` takes faults, see :func:`read_coco_instances`.

    Raises:
        UserError: the file is missing, not JSON or in another format.
    """
    content = read_coco_instances(json_file, report)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, os.path.basename(json_file))
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file)
        return load_coco_json(path, image_root)


def load_checked(name: str, load: Any, report: Report) -> list[Record]:
    """The records of a data set whose loader is detectron2's own, which trusts the annotation file.

    ``report`` takes the faults of a file of COCO instances or panoptic. The records are then those of
    its sound entries.

    Raises:
        UserError: the file is missing or in another format, or the loader fails.
    """
    meta = MetadataCatalog.get(name)
    path = meta.get("panoptic_json") or meta.get("json_file")
    faults: list[Fault] = []

    def note(finding: Finding) -> None:
        report(finding)
        if isinstance(finding, Fault):
            faults.append(finding)

    kind = meta.get("evaluator_type")
    if path and kind == "coco":
        read_coco_instances(path, note)
        if faults:
            return load_coco_instances(path, meta.image_root, lambda fault: None)
    if path and kind == "coco_panoptic_seg":
        PanopticFile.read(path, note)
        if faults:
            roots = meta.image_root, meta.panoptic_root
            return [*load_coco_panoptic(path, *roots, name, lambda fault: None)]
    try:
        return load()
    except (AssertionError, OSError) as error:  # how detectron2 says that a file is missing
        raise UserError(f"dataset {name} cannot be read ({error}): check its paths") from error

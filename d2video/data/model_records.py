"""The records of a dataset as a model is trained and tested on them."""

from collections.abc import Sequence

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY

from d2video.data.frame_annotations import FrameAnnotations
from d2video.data.frame_images import frames_as_images
from d2video.data.label_use import LabelUse
from d2video.data.mappers.build import mapper_class
from d2video.data.records import Record
from d2video.utils.errors import UserError
from d2video.utils.registry import lookup


def label_use(cfg: CfgNode) -> LabelUse | None:
    """The use of MODEL.META_ARCHITECTURE; None: it says nothing of labelled videos."""
    name = "MODEL.META_ARCHITECTURE"
    architecture = lookup(META_ARCH_REGISTRY, cfg.MODEL.META_ARCHITECTURE, name)
    for source in (architecture, mapper_class(cfg)):
        if hasattr(source, "label_use"):
            return source.label_use(cfg)
    return None


def records_for_training(cfg: CfgNode, name: str, records: list[Record]) -> list[Record]:
    """The records of a dataset as the model is trained on them: of a model of images, one a frame.

    Raises:
        UserError: the model cannot be trained on such labels, or an object lacks the mask that it needs.
    """
    use = _use(cfg, name)
    if use is None:
        return records
    if use.needs_masks:
        _require_masks(cfg, use, name, records)
    if use.train_on == "images":
        return frames_as_images(records)
    if use.train_on == "videos" and is_label_set(name):
        _require_tracks(cfg, name, records)
    return records


def records_for_testing(cfg: CfgNode, name: str, records: list[Record]) -> list[Record]:
    """The records of a dataset as the model is tested on them; only of a set of labels they change.

    Raises:
        UserError: as :func:`records_for_training`.
    """
    use = _use(cfg, name)
    if use is None or not is_label_set(name):
        return records
    if use.test_on == "images":
        return frames_as_images(records)
    _require_tracks(cfg, name, records)
    if use.needs_masks:
        _require_masks(cfg, use, name, records)
    return records


def is_label_set(name: str) -> bool:
    """Whether a dataset leaves it to the model what is scored, and how."""
    return MetadataCatalog.get(name).get("evaluator_type") == "labels"


def _use(cfg: CfgNode, name: str) -> LabelUse | None:
    use = label_use(cfg)
    if use is None and is_label_set(name):
        raise UserError(
            f"dataset {name} has labels of objects, and {cfg.MODEL.META_ARCHITECTURE} is not for objects: "
            "choose another model, such as VisTR, TrackFormer or DETR"
        )
    return use


def _require_tracks(cfg: CfgNode, name: str, records: Sequence[Record]) -> None:
    if any("length" not in record for record in records):
        advice = MetadataCatalog.get(name).get("track_advice", "name a set with tracks")
        raise UserError(
            f"dataset {name} has images without tracks, where {cfg.MODEL.META_ARCHITECTURE} needs videos: "
            f"{advice}, or choose a model of images, such as DETR"
        )


def _require_masks(cfg: CfgNode, use: LabelUse, name: str, records: Sequence[Record]) -> None:
    total = lacking = 0
    for record in records:
        labels = record.get("annotations", ())
        if isinstance(labels, FrameAnnotations):
            total += labels.num_annotations
            lacking += labels.count_without("segmentation")
            continue
        for frame in labels if "length" in record else [labels]:
            objects = [each for each in frame if not each.get("iscrowd")]
            total += len(objects)
            lacking += sum(each.get("segmentation") is None for each in objects)
    if lacking:
        raise UserError(
            f"dataset {name}: {lacking} of {total} objects in frames have a box and no mask, and "
            f"{cfg.MODEL.META_ARCHITECTURE} needs masks: complete the labels, or {use.without_masks}"
        )

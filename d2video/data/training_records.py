"""What a training takes of its datasets, and in which class indices."""

import logging
from functools import cache, partial

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from d2video.data.class_matching import match_classes
from d2video.data.loading import load_records
from d2video.data.mappers.build import needs_labels
from d2video.data.model_records import records_for_training
from d2video.data.record_classes import annotated_classes, with_classes
from d2video.data.records import Record, is_labelled, object_classes, without_degenerate_boxes
from d2video.formats.faults import Report, Tally, refuse
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)


def load_training_records(cfg: CfgNode, report: Report = refuse) -> dict[str, list[Record]]:
    """{dataset name: its records} of DATASETS.TRAIN, without what is not trained on.

    ``report`` is that of :func:`load_records`.
    """
    if not cfg.DATASETS.TRAIN:
        raise UserError("DATASETS.TRAIN is empty: name at least one dataset")
    return {
        name: trained_records(cfg, name, load_records(name, report)) for name in cfg.DATASETS.TRAIN
    }


def trained_records(cfg: CfgNode, name: str, records: list[Record]) -> list[Record]:
    """The records of a dataset of DATASETS.TRAIN, as the model takes them, without what is not trained on.

    Raises:
        UserError: as :func:`records_for_training`; the mapper needs labels and there are none, or no record
            has an object. Single records without objects train.
    """
    records = records_for_training(cfg, name, records)
    if not needs_labels(cfg):
        return records
    if not all(map(is_labelled, records)):
        raise UserError(f"dataset {name} has no labels: name an annotated split in DATASETS.TRAIN")
    records = without_degenerate_boxes(records, name)
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        filled = [record for record in records if object_classes(record)]
        tally = Tally(f"dataset {name}", "videos or images")
        tally.used = len(filled)
        reason = "without objects (DATALOADER.FILTER_EMPTY_ANNOTATIONS)"
        tally.leave_out(reason, len(records) - len(filled))
        tally.tell(refuse)
        records = filled
    if not any(map(object_classes, records)):
        raise UserError(f"dataset {name} holds no annotated object: nothing to train on")
    return records


def match_datasets(per_dataset: dict[str, list[Record]]) -> list[str] | None:
    """Give the records of all datasets the class indices of one: of the first that has the annotated
    classes of all.

    Returns:
        the class names of that dataset, None if it has none.

    Raises:
        UserError: no dataset has the classes of all others, or the names of one are not known.
    """
    found = {name: MetadataCatalog.get(name).get("thing_classes") for name in per_dataset}
    unnamed = [name for name in found if found[name] is None]
    if unnamed:
        if len(unnamed) < len(found):
            raise UserError(
                f"the names of the classes of dataset {unnamed[0]} are not known, and those of several "
                "DATASETS.TRAIN are matched by name: set thing_classes in its metadata"
            )
        return None
    names = {name: [str(each) for each in found[name]] for name in found}  # whatever was registered

    @cache
    def annotated(name: str) -> set[int]:
        return annotated_classes(per_dataset[name])

    def has_all(name: str) -> bool:
        return all(
            known in names[name] or index not in annotated(other)
            for other in names
            for index, known in enumerate(names[other])
        )

    reference = next(filter(has_all, names), next(iter(names)))
    for name, records in per_dataset.items():
        match = match_classes(
            names[reference],
            names[name],
            partial(annotated, name),
            model_source=f"dataset {reference}",
            data_source=f"dataset {name}",
            remedy="of several DATASETS.TRAIN one must have the classes of all",
        )
        if match.to_model != [*range(len(names[name]))]:
            logger.info("the classes of dataset %s get the numbers of dataset %s", name, reference)
            per_dataset[name] = [with_classes(record, match.to_model) for record in records]
    return names[reference]

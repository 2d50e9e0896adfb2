"""Data loaders for training and testing on videos or images, built from the config."""

import inspect
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.build import build_detection_test_loader
from detectron2.data.common import DatasetFromList
from detectron2.data.samplers import (
    RandomSubsetTrainingSampler,
    RepeatFactorTrainingSampler,
    TrainingSampler,
)
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from d2video.data.bad_samples import CountingLoader, RetryingDataset
from d2video.data.class_matching import match_classes
from d2video.data.datasets.coco import load_checked
from d2video.data.mappers.clip import DATASET_MAPPER_REGISTRY
from d2video.data.mappers.detectron2_image import DatasetMapper
from d2video.data.record_classes import annotated_classes, with_classes
from d2video.data.records import (
    Record,
    is_labelled,
    num_frames,
    object_classes,
    without_degenerate_boxes,
)
from d2video.data.sample_stream import IndexStream, TrainLoader
from d2video.formats.faults import Report, Tally, refuse
from d2video.utils.errors import UserError
from d2video.utils.registry import lookup

logger = logging.getLogger(__name__)


class ClipDataset(Dataset):
    """Records of videos, one sample a video or one a frame; an image is a video of one frame.

    Records are stored once, serialised, in memory that worker processes share, however many samples
    refer to them.

    Attributes:
        class_names: of the labels, by class index; None if they are not known.
        source: what messages call the data.
    """

    def __init__(
        self,
        records: list[Record],
        epoch_unit: str,
        class_names: list[str] | None = None,
        source: str = "the training data",
    ):
        """
        Args:
            records: with class indices of ``class_names``.
            epoch_unit: "video", or "frame": then every frame is a sample with ``key_frame``.
            class_names, source: see above.

        Raises:
            UserError: another unit.
        """
        if epoch_unit not in ("frame", "video"):
            raise UserError(f"INPUT.EPOCH_UNIT is '{epoch_unit}': choose frame or video")
        self.per_frame = epoch_unit == "frame"
        samples = [num_frames(record) if self.per_frame else 1 for record in records]
        self.num_samples = np.array(samples, np.int64)
        self._first = np.concatenate([[0], np.cumsum(self.num_samples)])
        self._records = DatasetFromList(records, copy=False)
        self.class_names = self._names_in_records = class_names
        self.source = source
        self._new_index: list[int | None] | None = None

    def match_classes(self, names: list[str], model_source: str, remedy: str) -> None:
        """From now on give records class indices of ``names``, which classes are found in by name.

        Args:
            names: by class index; "" for a class without a name.
            model_source, remedy: see :func:`~d2video.data.class_matching.match_classes`.

        Raises:
            UserError: an object has a class that ``names`` lacks.
        """
        if self._names_in_records is None:
            logger.warning(
                "the names of the classes of %s are not known: their numbers are taken for those of %s",
                *(self.source, model_source),
            )
            return
        match = match_classes(
            names,
            self._names_in_records,
            lambda: annotated_classes(self._records),
            model_source=model_source,
            data_source=self.source,
            remedy=remedy,
        )
        self.class_names, self._new_index = names, None
        if match.to_model != [*range(len(match.data_names))]:
            self._new_index = match.to_model
            logger.info("the classes of %s get the numbers of %s", self.source, model_source)

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, index: int) -> Record:
        video = int(np.searchsorted(self._first, index, side="right")) - 1
        record = self._records[video]
        if self._new_index is not None:
            record = with_classes(record, self._new_index)
        if self.per_frame:
            record = {**record, "key_frame": index - int(self._first[video])}
        return record


def build_train_loader(cfg: CfgNode) -> CountingLoader:
    """An endless loader of full batches of clips or images, each a list of mapped records.

    All of DATASETS.TRAIN are used together; where their classes differ, they are matched by name.
    SOLVER.IMS_PER_BATCH counts over all processes. Objects of images whose box has no area inside the
    image are left out. A sample that cannot be read is replaced (DATALOADER.MAX_RETRIES) and counted.
    Records come to the mapper with ``batch_number``, the same in all processes, unless
    ASPECT_RATIO_GROUPING makes batches of what the mapper gives.

    The order of the samples and all that is drawn for them depend only on SEED (drawn itself where it
    is negative), see :mod:`d2video.data.sample_stream`.

    Raises:
        UserError: an unknown, unreadable or unlabelled dataset, several of which none has the classes
            of all, nothing left to train on, an unknown sampler or mapper, records that the mapper
            refuses, or a batch that the processes cannot share.
    """
    batch, processes = cfg.SOLVER.IMS_PER_BATCH, comm.get_world_size()
    if batch < 1 or batch % processes:
        raise UserError(
            f"SOLVER.IMS_PER_BATCH is {batch}: it must be a positive multiple of the {processes} "
            "processes"
        )
    per_dataset = _training_records(cfg)
    class_names = _match_datasets(per_dataset) if _needs_labels(cfg) else None
    records = [record for group in per_dataset.values() for record in group]
    mapper = build_mapper(cfg, is_train=True)
    for name, group in per_dataset.items():
        check_mapper(mapper, group, name)
    source = f"dataset {', '.join(per_dataset)}"
    dataset = ClipDataset(records, cfg.INPUT.EPOCH_UNIT, class_names, source)
    logger.info(
        "Training on %d videos or images of %s, %d samples an epoch",
        *(len(records), ", ".join(per_dataset), len(dataset)),
    )
    indices = _index_stream(cfg, records, dataset.num_samples)
    # Clips of classification, and what has no labels, have no sizes of originals to group by.
    grouping = (
        cfg.DATALOADER.ASPECT_RATIO_GROUPING and "label" not in records[0] and _needs_labels(cfg)
    )
    loader = TrainLoader(
        RetryingDataset(dataset, mapper, cfg.DATALOADER.MAX_RETRIES),
        indices,
        batch // processes,
        seed=cfg.SEED if cfg.SEED >= 0 else int(comm.shared_random_seed()),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        group_by_shape=grouping,
        rank=comm.get_rank(),
        num_processes=processes,
    )
    return CountingLoader(loader, _object_counts(mapper, records, dataset.per_frame))


def _object_counts(mapper: Any, records: list[Record], per_frame: bool) -> np.ndarray | None:
    """How many objects each sample has at most; None if the mapper's samples hold none."""
    if not hasattr(mapper, "count_objects"):
        return None
    per_record = [mapper.count_objects(record) for record in records]
    return np.concatenate([c if per_frame else c.max(keepdims=True) for c in per_record])


def clips_of(loader: CountingLoader) -> ClipDataset:
    """The records behind a loader of :func:`build_train_loader`."""
    dataset = loader.loader.dataset
    assert isinstance(dataset, RetryingDataset)
    return dataset.records


def build_test_loader(cfg: CfgNode, dataset_name: str) -> DataLoader:
    """A loader of the videos or images of one dataset, one a batch, split over the processes.

    Raises:
        UserError: an unknown or unreadable dataset, an unknown mapper, or records that it refuses.
    """
    records, mapper = load_records(dataset_name), build_mapper(cfg, is_train=False)
    check_mapper(mapper, records, dataset_name)
    workers = cfg.DATALOADER.NUM_WORKERS
    return build_detection_test_loader(records, mapper=mapper, num_workers=workers)


def build_mapper(cfg: CfgNode, is_train: bool) -> Any:
    """The dataset mapper that INPUT.DATASET_MAPPER names.

    Raises:
        UserError: no mapper has that name.
    """
    return _mapper_class(cfg)(cfg, is_train)


def check_mapper(mapper: Any, records: Sequence[Record], dataset_name: str) -> None:
    """Let a mapper refuse records before anything is trained or tested.

    Raises:
        UserError: it does.
    """
    if isinstance(mapper, DatasetMapper) and any("file_name" not in r for r in records):
        raise UserError(
            f"dataset {dataset_name} holds videos, and INPUT.DATASET_MAPPER DatasetMapper takes "
            "images: choose ClipDatasetMapper"
        )
    if hasattr(mapper, "check_records"):
        try:
            mapper.check_records(records)
        except UserError as error:
            raise UserError(f"dataset {dataset_name}: {error}") from error


def _mapper_class(cfg: CfgNode) -> Any:
    return lookup(DATASET_MAPPER_REGISTRY, cfg.INPUT.DATASET_MAPPER, "INPUT.DATASET_MAPPER")


def _needs_labels(cfg: CfgNode) -> bool:
    """Whether the mapper trains on labels; one with ``needs_labels = False`` makes its own targets."""
    return getattr(_mapper_class(cfg), "needs_labels", True)


def load_records(dataset_name: str, report: Report = refuse) -> list[Record]:
    """The records of a registered dataset, from its own loader.

    Args:
        dataset_name: as in ``DATASETS.TRAIN``.
        report: takes the faults of single entries of its files, if the loader has a parameter of
            this name or is detectron2's.

    Raises:
        UserError: it is unknown, unreadable or empty.
    """
    if dataset_name not in DatasetCatalog:
        # detectron2's image datasets are registered too: the whole list would not help.
        close = get_close_matches(dataset_name, DatasetCatalog, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "correct the name or register it"
        raise UserError(f"dataset '{dataset_name}' is not registered: {hint}")
    load, metadata = DatasetCatalog[dataset_name], MetadataCatalog.get(dataset_name)
    try:
        if "report" in inspect.signature(load).parameters:
            records = load(report=report)
        else:
            records = load_checked(dataset_name, load, report)
    except UserError as error:
        folder, command = metadata.get("generator", (".", ""))
        if os.path.isdir(folder):
            raise
        raise UserError(
            f"dataset {dataset_name} is generated, and {folder} is not there: make it with {command}"
        ) from error
    path = metadata.get("panoptic_json") or metadata.get("json_file")
    if path and not records and report is refuse:
        raise UserError(f"dataset {dataset_name} is empty: {path} names no image or video")
    return records


def _training_records(cfg: CfgNode) -> dict[str, list[Record]]:
    """{dataset name: its records} of DATASETS.TRAIN, without what is not trained on."""
    if not cfg.DATASETS.TRAIN:
        raise UserError("DATASETS.TRAIN is empty: name at least one dataset")
    return {name: trained_records(cfg, name, load_records(name)) for name in cfg.DATASETS.TRAIN}


def trained_records(cfg: CfgNode, name: str, records: list[Record]) -> list[Record]:
    """The records of a dataset of DATASETS.TRAIN without what is not trained on.

    Raises:
        UserError: the mapper needs labels and there are none, or nothing is left.
    """
    if not _needs_labels(cfg):
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
    if not records:
        raise UserError(f"dataset {name} holds no annotated object: nothing to train on")
    return records


def _match_datasets(per_dataset: dict[str, list[Record]]) -> list[str] | None:
    """Give the records of all data sets the class indices of one: of the first that has the annotated
    classes of all.

    Returns:
        the class names of that data set, None if it has none.

    Raises:
        UserError: no data set has the classes of all others, or the names of one are not known.
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


def _index_stream(cfg: CfgNode, records: list[Record], num_samples: np.ndarray) -> IndexStream:
    """The order of the samples, of all processes together; those of a video are repeated alike."""
    name, size = cfg.DATALOADER.SAMPLER_TRAIN, int(num_samples.sum())
    if name == "TrainingSampler":
        return partial(_all_indices, partial(TrainingSampler, size))
    if name == "RandomSubsetTrainingSampler":
        return partial(_subset_indices, size, cfg.DATALOADER.RANDOM_SUBSET_RATIO)
    if name == "RepeatFactorTrainingSampler":
        if not _needs_labels(cfg):
            raise UserError(
                f"DATALOADER.SAMPLER_TRAIN is '{name}', which weighs classes, and "
                f"{cfg.INPUT.DATASET_MAPPER} knows none: choose TrainingSampler"
            )
        per_video = _category_repeat_factors(records, cfg.DATALOADER.REPEAT_THRESHOLD)
        per_sample = per_video.repeat_interleave(torch.from_numpy(num_samples))
        return partial(_all_indices, partial(RepeatFactorTrainingSampler, per_sample))
    raise UserError(
        f"DATALOADER.SAMPLER_TRAIN is '{name}': choose one of TrainingSampler, "
        "RandomSubsetTrainingSampler, RepeatFactorTrainingSampler"
    )


def _all_indices(sampler: Callable[..., Any], seed: int) -> Iterator[int]:
    """What a sampler of detectron2 gives to all processes together; the loader shares it out."""
    return sampler(seed=seed)._infinite_indices()


def _subset_indices(size: int, ratio: float, seed: int) -> Iterator[int]:
    sampler = RandomSubsetTrainingSampler(size, ratio, seed_shuffle=seed, seed_subset=seed)
    return sampler._infinite_indices()


def _category_repeat_factors(records: list[Record], threshold: float) -> torch.Tensor:
    """LVIS repeat factors, with videos in the place of images."""
    as_images = [{"annotations": [{"category_id": c} for c in object_classes(r)]} for r in records]
    return RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(as_images, threshold)

"""Data loaders for training and testing on videos or images, built from the config."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data.build import build_detection_test_loader
from detectron2.data.samplers import (
    RandomSubsetTrainingSampler,
    RepeatFactorTrainingSampler,
    TrainingSampler,
)
from detectron2.utils import comm
from torch.utils.data import DataLoader

from d2video.data.bad_samples import CountingLoader, RetryingDataset
from d2video.data.clip_dataset import ClipDataset
from d2video.data.copy_paste import CopyPasteMapper
from d2video.data.loading import load_records
from d2video.data.mappers.build import build_mapper, check_mapper, needs_labels
from d2video.data.model_records import records_for_testing
from d2video.data.records import Record, object_classes
from d2video.data.sample_stream import IndexStream, TrainLoader
from d2video.data.training_records import load_training_records, match_datasets
from d2video.formats.faults import Report, refuse
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)


def build_train_loader(cfg: CfgNode, report: Report = refuse) -> CountingLoader:
    """An endless loader of full batches of clips or images, each a list of mapped records.

    All of DATASETS.TRAIN are used together; where their classes differ, they are matched by name.
    SOLVER.IMS_PER_BATCH counts over all processes. Objects of images whose box has no area inside the
    image are left out. A sample that cannot be read is replaced (DATALOADER.MAX_RETRIES) and counted.
    Records come to the mapper with ``batch_number``, the same in all processes, unless
    ASPECT_RATIO_GROUPING makes batches of what the mapper gives.

    The order of the samples and all that is drawn for them depend only on SEED (drawn itself where it
    is negative), see :mod:`d2video.data.sample_stream`.

    Args:
        report: takes what the readers of the datasets find.

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
    per_dataset = load_training_records(cfg, report)
    class_names = match_datasets(per_dataset) if needs_labels(cfg) else None
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
        cfg.DATALOADER.ASPECT_RATIO_GROUPING and "label" not in records[0] and needs_labels(cfg)
    )
    counts = _object_counts(mapper, records, dataset.per_frame)
    pasting = _copy_paste(cfg, mapper, dataset)
    if pasting and counts is not None:
        counts = pasting.most_objects(counts)
    loader = TrainLoader(
        RetryingDataset(dataset, pasting or mapper, cfg.DATALOADER.MAX_RETRIES),
        indices,
        batch // processes,
        seed=cfg.SEED if cfg.SEED >= 0 else int(comm.shared_random_seed()),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        group_by_shape=grouping,
        rank=comm.get_rank(),
        num_processes=processes,
        pin_memory=torch.device(cfg.MODEL.DEVICE).type == "cuda",
    )
    return CountingLoader(loader, counts)


def _copy_paste(cfg: CfgNode, mapper: Any, dataset: ClipDataset) -> CopyPasteMapper | None:
    """INPUT.COPY_PASTE around a mapper; None: it is disabled."""
    prob, most = cfg.INPUT.COPY_PASTE.PROB, cfg.INPUT.COPY_PASTE.MAX_OBJECTS
    if not prob:
        return None
    key = f"INPUT.COPY_PASTE.PROB is {prob}"
    if not 0 <= prob <= 1:
        raise UserError(f"{key}: set a number from 0 to 1")
    if not hasattr(mapper, "count_objects"):
        raise UserError(
            f"{key}, but INPUT.DATASET_MAPPER {cfg.INPUT.DATASET_MAPPER} gives samples without objects to "
            "paste: set it to 0"
        )
    if not getattr(mapper, "with_masks", True):
        raise UserError(
            f"{key}, but objects are pasted by their masks, and MODEL.MASK_ON is False: set it to True, for "
            "labels with masks, or PROB to 0"
        )
    overlap = cfg.INPUT.COPY_PASTE.OVERLAP
    if not 0 <= overlap <= 1:
        raise UserError(f"INPUT.COPY_PASTE.OVERLAP is {overlap}: set a number from 0 to 1")
    return CopyPasteMapper(mapper, dataset, prob=prob, max_objects=most, overlap=overlap)


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
        UserError: an unknown or unreadable dataset, an unknown mapper, or records that it or the model
            refuses.
    """
    records = records_for_testing(cfg, dataset_name, load_records(dataset_name))
    mapper = build_mapper(cfg, is_train=False)
    check_mapper(mapper, records, dataset_name)
    workers = cfg.DATALOADER.NUM_WORKERS
    return build_detection_test_loader(records, mapper=mapper, num_workers=workers)


def _index_stream(cfg: CfgNode, records: list[Record], num_samples: np.ndarray) -> IndexStream:
    """The order of the samples, of all processes together; those of a video are repeated alike."""
    name, size = cfg.DATALOADER.SAMPLER_TRAIN, int(num_samples.sum())
    if name == "TrainingSampler":
        return partial(_all_indices, partial(TrainingSampler, size))
    if name == "RandomSubsetTrainingSampler":
        return partial(_subset_indices, size, cfg.DATALOADER.RANDOM_SUBSET_RATIO)
    if name == "RepeatFactorTrainingSampler":
        if not needs_labels(cfg):
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

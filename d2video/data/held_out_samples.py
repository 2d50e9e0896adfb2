"""Fixed training samples of a test set: what losses are computed on, and pictures drawn of, in a training."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from d2video.data.bad_samples import RetryingDataset
from d2video.data.clip_dataset import ClipDataset
from d2video.data.loading import load_records
from d2video.data.mappers.build import build_mapper, check_mapper, mapper_class, needs_labels
from d2video.data.sample_stream import NumberedIndex, Sample
from d2video.data.training_records import trained_records
from d2video.utils.random_state import seeded

_SEED = 0  # the same in all runs, so that their curves can be compared


class HeldOutSamples(Dataset):
    """The same samples each time, spread over a dataset, in the form of training samples.

    They are resized as for testing instead of augmented (:func:`held_out_cfg`); what a mapper draws
    besides, such as the place of a clip, depends on the sample's number only.

    Args:
        cfg: of the training.
        name: of a dataset with labels.
        count: of the samples; a smaller dataset gives some of them several times.
        batch_size: over all processes.
        class_names: the model's, by class index; None: labels keep their numbers.

    Attributes:
        class_names: of the labels, by class index; None if they are not known.

    Raises:
        UserError: the dataset cannot be read, has no labels or other ones than the model needs, or the
            mapper refuses it.
    """

    def __init__(
        self, cfg: CfgNode, name: str, count: int, batch_size: int, class_names: list[str] | None
    ):
        records = trained_records(cfg, name, load_records(name))
        cfg = held_out_cfg(cfg, records)
        mapper = build_mapper(cfg, is_train=True)
        check_mapper(mapper, records, name)
        names = MetadataCatalog.get(name).get("thing_classes") if needs_labels(cfg) else None
        names = None if names is None else [str(each) for each in names]
        clips = ClipDataset(records, cfg.INPUT.EPOCH_UNIT, names, f"dataset {name}")
        if class_names is not None and names is not None:
            clips.match_classes(class_names, "the model", "leave the dataset out of DATASETS.TEST")
        self.class_names = clips.class_names
        self._samples = RetryingDataset(clips, mapper, cfg.DATALOADER.MAX_RETRIES)
        self._indices = np.linspace(0, len(clips), count, endpoint=False).astype(int).tolist()
        self._batch_size = batch_size
        self._num_workers = cfg.DATALOADER.NUM_WORKERS

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, number: int) -> Sample:
        with seeded(_SEED, number):
            index = NumberedIndex(self._indices[number], number // self._batch_size)
            return self._samples[index]

    def spread(self, count: int) -> Iterator[Sample]:
        """At most ``count`` of them, from beginning to end."""
        places = np.linspace(0, len(self), min(count, len(self)), endpoint=False).astype(int)
        return (self[number] for number in places.tolist())

    def batches(self) -> DataLoader:
        """The full batches of this process, lists of samples; those of all processes at one place are
        the batch of a single process."""
        rank, processes = comm.get_rank(), comm.get_world_size()
        batches = len(self) // self._batch_size
        return DataLoader(
            self,
            batch_size=self._batch_size // processes,
            sampler=range(rank, batches * self._batch_size, processes),
            num_workers=self._num_workers,
            collate_fn=list,
            # Otherwise a number is drawn from torch's global generator.
            generator=torch.Generator().manual_seed(_SEED),
        )


def held_out_cfg(cfg: CfgNode, records: list[Any]) -> CfgNode:
    """The config of a training's mapper, for samples that are resized and not augmented.

    A mapper class with ``held_out_cfg(cfg, records)``, which gives another config, adds what its samples
    need, such as one size for all.
    """
    cfg = cfg.clone()
    cfg.defrost()
    resize = {
        "short_edge_lengths": cfg.INPUT.MIN_SIZE_TEST,
        "max_size": cfg.INPUT.MAX_SIZE_TEST,
    }
    cfg.INPUT.AUGMENTATIONS = [["ResizeShortestEdge", resize]]
    cfg.INPUT.COPY_PASTE.PROB = 0.0
    # The same for detectron2's mapper.
    cfg.INPUT.MIN_SIZE_TRAIN = (cfg.INPUT.MIN_SIZE_TEST,)
    cfg.INPUT.MAX_SIZE_TRAIN = cfg.INPUT.MAX_SIZE_TEST
    cfg.INPUT.RANDOM_FLIP = "none"
    cfg.INPUT.CROP.ENABLED = False
    own = getattr(mapper_class(cfg), "held_out_cfg", None)
    return own(cfg, records) if own else cfg

"""From the record of a clean image, or of a pair, to a degraded input and its target.

Shapes: p side of a patch (of the input), s scale of the task, H x W and h x w whole images.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from d2video.projects.ipt.corruption import Corruption
from d2video.projects.ipt.image_pairs import ImagePair
from d2video.projects.ipt.task_choice import BatchTasks, ImageTasks, check_is_for
from d2video.projects.ipt.tasks import Task, parse_tasks
from detectron2.config import CfgNode, configurable
from torch import Tensor

from d2video.data.mappers.clip import DATASET_MAPPER_REGISTRY, sample_seed
from d2video.utils.errors import UserError


@DATASET_MAPPER_REGISTRY.register()
class RestorationMapper:
    """Cut a patch and degrade it for the batch's task, or degrade a whole image for testing.

    Patches and corruptions of training are seeded as
    :class:`~d2video.data.mappers.clip.ClipDatasetMapper` does; those of testing depend on the name of
    the file and the task only.
    """

    # The clean image is the target.
    needs_labels = False

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        tasks: Sequence[Task],
        patch_size: int = 48,
        train_tasks: Sequence[str] = (),
        task_weights: Sequence[float] = (),
        task_seed: int = 0,
        flip_and_turn: bool = False,
        clamp_noise: bool = True,
        streak_folder: str = "",
        test_task: str = "",
        restore_as: Mapping[str, str] | None = None,
    ):
        """
        Args:
            is_train: patches, or whole images.
            tasks: of the model.
            patch_size: p, in pixels.
            test_task: for records without a task; "": the only one there is.
            restore_as: {task of a record: task of the model} for testing.
            The others are the keys of INPUT.RESTORATION with these names.

        Raises:
            UserError: an unknown task, also for testing, weights of another number or that are not
                positive numbers, a patch size below 1, or a folder without readable streak images.
        """
        if patch_size < 1:
            raise UserError(f"MODEL.IPT.PATCH_SIZE is {patch_size}: it must be positive")
        self.is_train = is_train
        self.patch_size = patch_size
        self.flip_and_turn = flip_and_turn
        self.corruption = Corruption(clamp_noise, streak_folder)
        self.batch_task = BatchTasks(tasks, train_tasks, task_weights, task_seed)
        self.image_task = ImageTasks(tasks, "" if is_train else test_task, restore_as or {})

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        restoration = cfg.INPUT.RESTORATION
        if cfg.INPUT.FORMAT != "RGB":
            raise UserError(
                f"INPUT.FORMAT is '{cfg.INPUT.FORMAT}': RestorationMapper gives only RGB"
            )
        if any(
            not isinstance(pair, list | tuple) or len(pair) != 2 for pair in restoration.RESTORE_AS
        ):
            raise UserError(
                f"INPUT.RESTORATION.RESTORE_AS is {restoration.RESTORE_AS}: give pairs "
                "[task of a dataset, task of the model]"
            )
        return {
            "is_train": is_train,
            "tasks": parse_tasks(cfg.MODEL.IPT.TASKS),
            "patch_size": cfg.MODEL.IPT.PATCH_SIZE,
            "train_tasks": restoration.TRAIN_TASKS,
            "task_weights": restoration.TASK_WEIGHTS,
            "task_seed": restoration.TASK_SEED,
            "flip_and_turn": restoration.FLIP_AND_TURN,
            "clamp_noise": restoration.CLAMP_NOISE,
            "streak_folder": restoration.STREAK_FOLDER,
            "test_task": restoration.TEST_TASK or cfg.MODEL.IPT.TASK,
            "restore_as": dict(restoration.RESTORE_AS),
        }

    @classmethod
    def held_out_cfg(cls, cfg: CfgNode, records: Sequence[Mapping[str, Any]]) -> CfgNode:
        """See :func:`~d2video.data.held_out_samples.held_out_cfg`: a dataset may be for one task only."""
        if tasks := sorted({record["task"] for record in records if "task" in record}):
            cfg.INPUT.RESTORATION.TRAIN_TASKS = tasks
            cfg.INPUT.RESTORATION.TASK_WEIGHTS = []
        cfg.INPUT.RESTORATION.FLIP_AND_TURN = False
        return cfg

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """
        Args:
            record: of :mod:`d2video.data.datasets.image_folder`, in training with
                ``batch_number``; not changed.

        Returns:
            ``image``: float32 (3,p,p), or (3,h,w) for testing, RGB, degraded, 0..255 unless noise is
            not clamped; ``target``: uint8 (3,s*p,s*p) or (3,H,W); ``task``: what the model is to do;
            for testing ``measured_as``: the dataset's task; ``file_name`` and ``image_id``.

        Raises:
            BrokenFile: an image cannot be read.
            UserError: a pair does not match, the record has no ``batch_number`` or another task than
                the batch, or the task is unknown or your own and the record has no degraded image.
        """
        _check_is_image(record)
        if self.is_train:
            task = self.batch_task(record)
            target, image = self._patches(record, task)
            names = {"task": task.name}
        else:
            task = self.image_task(record)
            target, image = self._whole(record, task)
            by = self.image_task.restore_as.get(task.name, task.name)
            names = {"task": by, "measured_as": task.name}
        return {
            "image": image,
            "target": target,
            **names,
            "file_name": record["file_name"],
            "image_id": record["image_id"],
        }

    def check_records(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Tell before the training what a draw or the first evaluation would tell.

        Raises:
            UserError: records of videos, or whose input nobody can make; in training those of a task
                that is not the only one trained on; in testing those of a task that the model neither
                has nor does by another.
        """
        kinds: dict[tuple[str | None, bool], Mapping[str, Any]] = {}
        for record in records:
            _check_is_image(record)
            kinds.setdefault((record.get("task"), "degraded_file_name" in record), record)
        for record in kinds.values():
            tasks = self.batch_task.tasks if self.is_train else [self.image_task(record)]
            for task in tasks:
                if self.is_train:
                    check_is_for(record, task)
                _check_has_input(record, task)

    def _patches(self, record: Mapping[str, Any], task: Task) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(sample_seed())
        pair = ImagePair.read(record, task.scale).patch(self.patch_size, task.scale, rng)
        if self.flip_and_turn:
            pair = pair.turned(rng)
        return self._finish(pair, task, rng, record)

    def _whole(self, record: Mapping[str, Any], task: Task) -> tuple[Tensor, Tensor]:
        pair = ImagePair.read(record, task.scale)
        height, width = (n // task.scale * task.scale for n in pair.clean.shape[:2])
        if not (height and width):
            raise UserError(f"image {record['file_name']} is smaller than the scale of {task.name}")
        # What a draw depends on: neither the order nor the folder.
        key = f"{Path(record['file_name']).name} {task.name}"
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        return self._finish(replace(pair, clean=pair.clean[:height, :width]), task, rng, record)

    def _finish(
        self, pair: ImagePair, task: Task, rng: np.random.Generator, record: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """Target and input; the latter is made where the pair has none."""
        target = _to_tensor(pair.clean)
        if pair.degraded is not None:
            return target, _to_tensor(pair.degraded).float()
        _check_has_input(record, task)
        return target, self.corruption(target.float(), task, rng)


def _check_is_image(record: Mapping[str, Any]) -> None:
    if "image_id" not in record:
        raise UserError(
            "INPUT.DATASET_MAPPER RestorationMapper takes images, and this dataset holds videos: "
            "choose another mapper or dataset"
        )


def _check_has_input(record: Mapping[str, Any], task: Task) -> None:
    if task.kind == "own" and "degraded_file_name" not in record:
        raise UserError(
            f"image {record['file_name']} has no degraded partner, and how to degrade for task "
            f"'{task.name}' is not known: use pairs (register_image_pairs)"
        )


def _to_tensor(image: np.ndarray) -> Tensor:
    """uint8 (H,W,3) to a tensor (3,H,W) of its own memory."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))

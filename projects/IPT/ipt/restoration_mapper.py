"""From the record of a clean image, or of a pair, to a degraded input and its target.

Shapes: p side of a patch (of the input), s scale of the task, H x W and h x w whole images, H = s*h.
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from d2video.projects.ipt.corruption import add_noise, add_rain, cut_rain, downscale, generate_rain
from d2video.projects.ipt.tasks import Task, parse_task, parse_tasks, task_index
from detectron2.config import CfgNode, configurable
from torch import Tensor

from d2video.data.datasets.image_folder import check_pair_sizes
from d2video.data.mappers.clip import DATASET_MAPPER_REGISTRY, sample_seed
from d2video.utils.errors import UserError
from d2video.video.image_io import list_images, read_rgb


@DATASET_MAPPER_REGISTRY.register()
class RestorationMapper:
    """Cut a patch and degrade it for the batch's task, or degrade a whole image for testing.

    Patches and corruptions of training are seeded as
    :class:`~d2video.data.mappers.clip.ClipDatasetMapper` does; those of testing depend on the name of
    the file and the task alone.
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
            train_tasks: names of those trained on; empty: all.
            task_weights: of these, relative frequencies; empty: all alike.
            task_seed: of the draw of tasks.
            flip_and_turn: augment patches by the eight flips and quarter turns.
            clamp_noise: cut noisy images to 0..255.
            streak_folder: of grey images of rain; "": rain is generated.
            test_task: for records without a task; "": the only one there is.
            restore_as: {task of a record: task of the model} for testing.

        Raises:
            UserError: an unknown task, also for testing, weights of another number or that are not
                positive numbers, a patch size below 1, or a folder without readable streak images.
        """
        if patch_size < 1:
            raise UserError(f"MODEL.IPT.PATCH_SIZE is {patch_size}: it must be positive")
        self.is_train = is_train
        self.tasks = tuple(tasks)
        self.patch_size = patch_size
        chosen = list(train_tasks) or [task.name for task in tasks]
        self.train_tasks = [self.tasks[task_index(self.tasks, name)] for name in chosen]
        self.task_probabilities = _probabilities(task_weights, len(self.train_tasks))
        self.task_seed = task_seed
        self.flip_and_turn = flip_and_turn
        self.clamp_noise = clamp_noise
        self.streaks = _read_streaks(streak_folder) if streak_folder else []
        self.test_task = test_task
        self.restore_as = dict(restore_as or {})
        for name in self.restore_as.values():
            task_index(self.tasks, name)
        if not is_train and test_task and test_task not in self.restore_as:
            names = [task.name for task in self.tasks]
            if test_task not in names:
                raise UserError(
                    f"INPUT.RESTORATION.TEST_TASK, or else MODEL.IPT.TASK, is '{test_task}': set one of "
                    + ", ".join(names)
                )

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        restoration = cfg.INPUT.RESTORATION
        if cfg.INPUT.FORMAT != "RGB":
            raise UserError(
                f"INPUT.FORMAT is '{cfg.INPUT.FORMAT}': RestorationMapper gives RGB alone"
            )
        if any(len(pair) != 2 for pair in restoration.RESTORE_AS):
            raise UserError(
                f"INPUT.RESTORATION.RESTORE_AS is {restoration.RESTORE_AS}: give pairs "
                "[task of a data set, task of the model]"
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

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """
        Args:
            record: of :mod:`d2video.data.datasets.image_folder`, in training with
                ``batch_number``; not changed.

        Returns:
            ``image``: float32 (3,p,p), or (3,h,w) for testing, RGB, degraded, 0..255 unless noise is
            not clamped; ``target``: uint8 (3,s*p,s*p) or (3,H,W); ``task``: what the model is to do;
            for testing ``measured_as``: the data set's task; ``file_name`` and ``image_id``.

        Raises:
            BrokenFile: an image cannot be read.
            UserError: a pair does not match, the record has no ``batch_number`` or another task than
                the batch, or the task is unknown or one's own and the record has no degraded image.
        """
        _check_is_image(record)
        if self.is_train:
            task = self.batch_task(record)
            target, image = self._patches(record, task)
            names = {"task": task.name}
        else:
            task = self._record_task(record)
            target, image = self._whole(record, task)
            names = {
                "task": self.restore_as.get(task.name, task.name),
                "measured_as": task.name,
            }
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
            tasks = self.train_tasks if self.is_train else [self._record_task(record)]
            for task in tasks:
                if self.is_train:
                    _check_is_for(record, task)
                _check_has_input(record, task)

    def batch_task(self, record: Mapping[str, Any]) -> Task:
        """The task of the batch that a training record is for."""
        if "batch_number" not in record:
            raise UserError(
                "RestorationMapper needs to know the batch: load with d2video's build_train_loader"
            )
        rng = np.random.default_rng([self.task_seed, record["batch_number"]])
        task = self.train_tasks[rng.choice(len(self.train_tasks), p=self.task_probabilities)]
        _check_is_for(record, task)
        return task

    def _record_task(self, record: Mapping[str, Any]) -> Task:
        name = record.get("task") or self.test_task
        if not name:
            if len(self.tasks) > 1:
                raise UserError(
                    f"image {record['file_name']} is of a data set without a task, and the model has "
                    f"{len(self.tasks)}: set INPUT.RESTORATION.TEST_TASK"
                )
            return self.tasks[0]
        if name not in self.restore_as:
            known = {task.name: task for task in self.tasks}
            if name not in known:
                raise UserError(f"image {record['file_name']}: {self._advice(name)}")
            return known[name]
        task, model_task = parse_task(name), self.restore_as[name]
        if task.scale != self.tasks[task_index(self.tasks, model_task)].scale:
            raise UserError(
                f"INPUT.RESTORATION.RESTORE_AS: {name} and {model_task} have different scales"
            )
        return task

    def _advice(self, name: str) -> str:
        """How to test a task that the model lacks."""
        wanted = parse_task(name)
        alike = [task for task in self.tasks if task.scale == wanted.scale]
        alike.sort(key=lambda task: task.kind != wanted.kind)
        by_another = (
            f'set INPUT.RESTORATION.RESTORE_AS \'[["{name}", "{alike[0].name}"]]\', '
            if alike
            else ""
        )
        return (
            f"the model has no task '{name}', it has {', '.join(task.name for task in self.tasks)}: "
            f"{by_another}leave the data set out of DATASETS.TEST, or train {name}, too"
        )

    def _patches(self, record: Mapping[str, Any], task: Task) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(sample_seed())
        clean, degraded = _read_pair(record, task)
        side, scale = self.patch_size, task.scale
        if degraded is None:
            clean = _at_least(clean, side * scale)
            clean = _cut(clean, rng, side * scale)
        else:
            if min(degraded.shape[:2]) < side:
                raise UserError(
                    f"image {record['degraded_file_name']} is smaller than a patch of {side} pixels "
                    "(MODEL.IPT.PATCH_SIZE): leave it out of the training"
                )
            top, left = (int(rng.integers(n - side + 1)) for n in degraded.shape[:2])
            degraded = degraded[top : top + side, left : left + side]
            top, left = top * scale, left * scale
            clean = clean[top : top + side * scale, left : left + side * scale]
        if self.flip_and_turn:
            turns, flip = int(rng.integers(4)), bool(rng.integers(2))
            clean = _turned(clean, turns, flip)
            degraded = None if degraded is None else _turned(degraded, turns, flip)
        return self._finish(clean, degraded, task, rng, record)

    def _whole(self, record: Mapping[str, Any], task: Task) -> tuple[Tensor, Tensor]:
        clean, degraded = _read_pair(record, task)
        height, width = (n // task.scale * task.scale for n in clean.shape[:2])
        if not (height and width):
            raise UserError(f"image {record['file_name']} is smaller than the scale of {task.name}")
        # What a draw depends on: neither the order nor the folder.
        key = f"{Path(record['file_name']).name} {task.name}"
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        return self._finish(clean[:height, :width], degraded, task, rng, record)

    def _finish(
        self,
        clean: np.ndarray,
        degraded: np.ndarray | None,
        task: Task,
        rng: np.random.Generator,
        record: Mapping[str, Any],
    ) -> tuple[Tensor, Tensor]:
        target = _to_tensor(clean)
        if degraded is not None:
            return target, _to_tensor(degraded).float()
        _check_has_input(record, task)
        image = target.float()
        match task.kind:
            case "sr":
                return target, downscale(image, task.scale)
            case "denoise":
                assert task.sigma is not None
                return target, add_noise(image, task.sigma, rng, clamp=self.clamp_noise)
            case "derain":
                height, width = image.shape[1:]
                if self.streaks:
                    return target, add_rain(image, cut_rain(self.streaks, height, width, rng))
                return target, add_rain(image, generate_rain(height, width, rng))
        raise AssertionError(task.kind)  # _check_has_input let nothing else through


def _check_is_image(record: Mapping[str, Any]) -> None:
    if "image_id" not in record:
        raise UserError(
            "INPUT.DATASET_MAPPER RestorationMapper takes images, and this data set holds videos: "
            "choose another mapper or data set"
        )


def _check_is_for(record: Mapping[str, Any], task: Task) -> None:
    """A training record for a batch's task."""
    if record.get("task", task.name) != task.name:
        raise UserError(
            f"image {record['file_name']} is of a data set for task {record['task']} alone, and "
            f"a batch is for {task.name}: train on that task alone (MODEL.IPT.TASKS, "
            "INPUT.RESTORATION.TRAIN_TASKS), or on plain image folders"
        )


def _check_has_input(record: Mapping[str, Any], task: Task) -> None:
    if task.kind == "own" and "degraded_file_name" not in record:
        raise UserError(
            f"image {record['file_name']} has no degraded partner, and how to degrade for task "
            f"'{task.name}' is not known: use pairs (register_image_pairs)"
        )


def _probabilities(weights: Sequence[float], count: int) -> np.ndarray:
    if not len(weights):
        return np.full(count, 1 / count)
    numbers = all(type(weight) in (int, float) for weight in weights)
    values = np.array(weights if numbers else [], np.float64)
    if len(values) != count or not (np.isfinite(values).all() and (values > 0).all()):
        raise UserError(
            f"INPUT.RESTORATION.TASK_WEIGHTS is {list(weights)}: give a positive number for each of "
            f"the {count} tasks that are trained on"
        )
    return values / values.sum()


def _read_streaks(folder: str) -> list[np.ndarray]:
    """Grey images uint8 (h,w); of colours the mean."""
    if not Path(folder).is_dir():
        raise UserError(
            f"INPUT.RESTORATION.STREAK_FOLDER {folder} does not exist: mend it, or leave "
            "it empty to generate rain"
        )
    return [read_rgb(path).mean(2).round().astype(np.uint8) for path in list_images(folder)]


def _read_pair(record: Mapping[str, Any], task: Task) -> tuple[np.ndarray, np.ndarray | None]:
    """Clean and degraded image, uint8 (H,W,3) and (h,w,3); the latter None where it is to be made."""
    clean = read_rgb(record["file_name"])
    if "degraded_file_name" not in record:
        return clean, None
    degraded = read_rgb(record["degraded_file_name"])
    names = record["file_name"], record["degraded_file_name"]
    check_pair_sizes(*names, clean.shape[:2], degraded.shape[:2], task.scale)
    return clean, degraded


def _at_least(image: np.ndarray, side: int) -> np.ndarray:
    """Enlarged bilinearly, in proportion, where a side is shorter."""
    height, width = image.shape[:2]
    if min(height, width) >= side:
        return image
    factor = side / min(height, width)
    size = max(side, round(width * factor)), max(side, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def _cut(image: np.ndarray, rng: np.random.Generator, side: int) -> np.ndarray:
    top, left = (int(rng.integers(n - side + 1)) for n in image.shape[:2])
    return image[top : top + side, left : left + side]


def _turned(image: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    return np.rot90(image[:, ::-1] if flip else image, turns)


def _to_tensor(image: np.ndarray) -> Tensor:
    """uint8 (H,W,3) to a tensor (3,H,W) of its own memory."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))

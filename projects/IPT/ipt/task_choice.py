"""Which task a batch of training or an image for testing is for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from d2video.projects.ipt.tasks import Task, parse_task, task_index

from d2video.utils.errors import UserError


class BatchTasks:
    """Draws the task of each batch, by a seed and the batch's number only: all processes agree.

    Args:
        tasks: of the model.
        names: of those trained on; empty: all.
        weights: their relative frequencies; empty: equal.
        seed: of the draw.

    Raises:
        UserError: an unknown task, or weights that are not a positive number for each.
    """

    def __init__(
        self, tasks: Sequence[Task], names: Sequence[str], weights: Sequence[float], seed: int
    ):
        names = list(names) or [task.name for task in tasks]
        self.tasks = [tasks[task_index(tasks, name)] for name in names]
        self._probabilities = _probabilities(weights, len(self.tasks))
        self._seed = seed

    def __call__(self, record: Mapping[str, Any]) -> Task:
        """The task of the batch that a record is for.

        Raises:
            UserError: it has no ``batch_number``, or another task.
        """
        if "batch_number" not in record:
            raise UserError(
                "RestorationMapper needs to know the batch: load with d2video's build_train_loader"
            )
        rng = np.random.default_rng([self._seed, record["batch_number"]])
        task = self.tasks[rng.choice(len(self.tasks), p=self._probabilities)]
        check_is_for(record, task)
        return task


class ImageTasks:
    """The task of each image for testing: its dataset's, else a default.

    Args:
        tasks: of the model.
        default: for records without a task; "": the only one there is.
        restore_as: {task of a record: task of the model that does it}.

    Raises:
        UserError: an unknown task.
    """

    def __init__(self, tasks: Sequence[Task], default: str, restore_as: Mapping[str, str]):
        self.tasks = tuple(tasks)
        self.test_task = default
        self.restore_as = dict(restore_as)
        for name in self.restore_as.values():
            task_index(self.tasks, name)
        names = [task.name for task in tasks]
        if default and default not in (*self.restore_as, *names):
            raise UserError(
                f"INPUT.RESTORATION.TEST_TASK, or else MODEL.IPT.TASK, is '{default}': set one of "
                + ", ".join(names)
            )

    def __call__(self, record: Mapping[str, Any]) -> Task:
        """
        Raises:
            UserError: the record and the config name no task, or one that the model neither has nor
                does by another.
        """
        name = record.get("task") or self.test_task
        if not name:
            if len(self.tasks) > 1:
                raise UserError(
                    f"image {record['file_name']} is of a dataset without a task, and the model has "
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
            f"{by_another}leave the dataset out of DATASETS.TEST, or train {name}, too"
        )


def check_is_for(record: Mapping[str, Any], task: Task) -> None:
    """A training record for a batch's task."""
    if record.get("task", task.name) != task.name:
        raise UserError(
            f"image {record['file_name']} is of a dataset only for task {record['task']}, and "
            f"a batch is for {task.name}: train only on that task (MODEL.IPT.TASKS, "
            "INPUT.RESTORATION.TRAIN_TASKS), or on plain image folders"
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

"""Names of restoration tasks: each has a head, a tail and a task query of the model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from d2video.utils.errors import UserError

Kind = Literal["sr", "denoise", "derain", "own"]

_FORM = (
    "write a name (sr_x<scale>, denoise_<sigma>, derain or your own) or [name, {scale: <scale>}]"
)


@dataclass(frozen=True)
class Task:
    """What a model is asked to do.

    Attributes:
        name: as in the config, in checkpoints and in the inputs.
        scale: the output's size over the input's.
        kind: super-resolution, removal of noise or of rain, or what the user makes of it.
        sigma: standard deviation of the noise, of 0..255; None for other kinds.
    """

    name: str
    scale: int
    kind: Kind
    sigma: float | None = None


def parse_task(entry: Any) -> Task:
    """A task from an entry of MODEL.IPT.TASKS: its name, or ``[name, {"scale": s}]``.

    Raises:
        UserError: an entry of another form, a name that no parameter can have, a scale below 1 or
            other than the name says.
    """
    match entry:
        case str(name):
            scale = None
        case [str(name), {"scale": int() as scale, **rest}] if not rest:
            pass
        case _:
            raise UserError(f"MODEL.IPT.TASKS has the entry {entry!r}: {_FORM}")
    # The name is part of parameters' names, in containers whose own attributes it may not hide.
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or any(
        hasattr(container, name) for container in (nn.ModuleDict(), nn.ParameterDict())
    ):
        raise UserError(
            f"MODEL.IPT.TASKS has a task '{name}', an unusable name: use letters, digits and _, "
            "start with a letter, and avoid the names of a torch module's attributes"
        )
    kind, own_scale, sigma = _meaning(name)
    if scale is None:
        scale = own_scale or 1
    if scale < 1 or (own_scale is not None and scale != own_scale):
        wanted = "1 or more" if own_scale is None else f"{own_scale}, as its name says"
        raise UserError(f"MODEL.IPT.TASKS: task '{name}' has scale {scale}: set {wanted}")
    return Task(name, scale, kind, sigma)


def _meaning(name: str) -> tuple[Kind, int | None, float | None]:
    """Kind, scale where the name says it, and sigma."""
    if match := re.fullmatch(r"sr_x([1-9]\d*)", name):
        return "sr", int(match[1]), None
    if match := re.fullmatch(r"denoise_(\d+)", name):
        return "denoise", 1, float(match[1])
    return ("derain", 1, None) if name == "derain" else ("own", None, None)


def parse_tasks(entries: Sequence[Any]) -> tuple[Task, ...]:
    """The tasks of a model, in the order of MODEL.IPT.TASKS.

    Raises:
        UserError: there is none, one comes twice, or see :func:`parse_task`.
    """
    tasks = tuple(parse_task(entry) for entry in entries)
    if not tasks:
        raise UserError(f"MODEL.IPT.TASKS is empty: {_FORM}")
    names = [task.name for task in tasks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"MODEL.IPT.TASKS names {', '.join(twice)} more than once: leave it once")
    return tasks


def task_index(tasks: Sequence[Task], name: str) -> int:
    """
    Raises:
        UserError: no task has that name.
    """
    for index, task in enumerate(tasks):
        if task.name == name:
            return index
    known = ", ".join(task.name for task in tasks)
    raise UserError(
        f"the model has no task '{name}': it has {known}; choose one of them or add it to "
        "MODEL.IPT.TASKS"
    )

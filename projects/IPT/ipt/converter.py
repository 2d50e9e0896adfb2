"""Names of IPT's parameters in files of the official code, of several tasks or of one.

The official code numbers its tasks. Which number is which is the order of MODEL.IPT.TASKS: name a
file's tasks there in the file's order, all of them. Later configs may choose among them by name.
"""

import re

import torch
from torch import Tensor

from d2video.checkpoint.convert import CONVERTER_REGISTRY, CheckpointFormat, State
from d2video.checkpoint.recognition import MODEL_SIGNATURES
from d2video.utils.errors import UserError

_PREFIX = "network."
_RENAMED = {
    "heads.": "head.",
    "tails.": "tail.",
    "body.position": "body.position_encoding.pe.weight",
    "body.mlp_head.linear1.": "body.mlp_head.0.",
    "body.mlp_head.linear2.": "body.mlp_head.3.",
    "body.encoder.": "body.encoder.layers.",
    "body.decoder.": "body.decoder.layers.",
}
_QUERY = "body.queries."
_QUERIES = "body.query_embed.weight"
_POSITION_IDS = "body.position_encoding.position_ids"
_OF_TASK = re.compile(r"(head|tail)\.([^.]+)\.(.+)")
# Of DIV2K, on 0..255; the official layers subtract and add it as they are built.
_MEAN = torch.tensor([0.4488, 0.4371, 0.4040]) * 255


def official_name(name: str) -> str:
    """Our parameter's name in an official checkpoint, but for the task's: the name stands there in
    place of the number, and a query by itself."""
    name = name.removeprefix(_PREFIX)
    for ours, theirs in _RENAMED.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def _tasks_of(state: State) -> list[str]:
    """Tasks of a state under :func:`official_name`'s names, in the order of the config."""
    return [name.removeprefix(_QUERY) for name in state if name.startswith(_QUERY)]


def from_numbers(state: State, model: State) -> tuple[State, list[str]]:
    """Name the tasks of an official state, and cut its queries apart.

    Raises:
        UserError: it has another number of tasks than the model, or another mean of the pixels.
    """
    tasks = _tasks_of(model)
    if not any(name in state for name in (*model, _QUERIES)):
        return state, []  # no file of this format, as will be found
    numbers = {match[2] for name in state if (match := _OF_TASK.fullmatch(name))}
    if numbers != {str(i) for i in range(len(tasks))}:
        raise UserError(
            f"the file holds {len(numbers)} tasks, MODEL.IPT.TASKS names {len(tasks)} "
            f"({', '.join(tasks)}): name the file's tasks there, all and in its order"
        )
    _check_mean(state)
    named: State = {}
    for name, value in state.items():
        if match := _OF_TASK.fullmatch(name):
            name = f"{match[1]}.{tasks[int(match[2])]}.{match[3]}"
        if name == _QUERIES:
            named |= _split_queries(value, tasks, model)
        else:
            named[name] = value
    order = ", ".join(f"{number} {task}" for number, task in enumerate(tasks))
    return named, [f"tasks by number: {order}"]


def _split_queries(rows: Tensor, tasks: list[str], model: State) -> State:
    shape = model[_QUERY + tasks[0]].shape
    if rows.shape != (len(tasks), shape.numel()):
        raise UserError(
            f"the file's {_QUERIES} has shape {tuple(rows.shape)} instead of "
            f"{(len(tasks), shape.numel())}: set tasks, widths and patch size in the config to those "
            "of the file"
        )
    return {_QUERY + task: row.view(shape) for task, row in zip(tasks, rows)}


def _check_mean(state: State) -> None:
    """A file with other constants would give wrong images in silence."""
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        bias, weight = state.get(f"{name}.bias"), state.get(f"{name}.weight")
        if bias is None or weight is None or bias.is_meta:
            continue
        identity = torch.eye(3).view(3, 3, 1, 1)
        same = bias.shape == (3,) and torch.allclose(bias.float(), sign * _MEAN, atol=1e-2)
        if not same or weight.shape != identity.shape or not torch.equal(weight.float(), identity):
            raise UserError(
                f"the file's {name} is not the official one (identity, "
                f"{[round(x, 2) for x in (sign * _MEAN).tolist()]}): such a model cannot be converted"
            )


def to_numbers(state: State) -> State:
    """The way back from :func:`from_numbers`, with the constants that official files hold."""
    tasks = _tasks_of(state)
    numbered: State = {}
    for name, value in state.items():
        if match := _OF_TASK.fullmatch(name):
            numbered[f"{match[1]}.{tasks.index(match[2])}.{match[3]}"] = value
        elif not name.startswith(_QUERY):
            numbered[name] = value
    queries = [state[_QUERY + task] for task in tasks]
    numbered[_QUERIES] = torch.stack([query.flatten() for query in queries])
    numbered[_POSITION_IDS] = torch.arange(len(queries[0]))[None]
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        numbered[f"{name}.weight"] = torch.eye(3).view(3, 3, 1, 1)
        numbered[f"{name}.bias"] = sign * _MEAN
    return numbered


CONVERTER_REGISTRY["IPT"] = {
    "ipt": CheckpointFormat(
        "official IPT",
        official_name,
        not_in_model=("sub_mean.", "add_mean.", _POSITION_IDS),
        adapt=from_numbers,
        restore=to_numbers,
        file_key="",
    )
}

MODEL_SIGNATURES["IPT"] = [("network.body.position", "network.body.mlp_head.linear1.weight")]

"""Convert checkpoints of other implementations to d2video's and back, key by key.

A project describes a foreign format by one function from d2video's parameter names to the foreign names. Both
directions and all checks follow from it and from the names and shapes of the model.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from detectron2.config import CfgNode
from torch import Tensor

from d2video.structures import ClassHead
from d2video.utils.errors import UserError

State = dict[str, Tensor]
# A function from a file's and a model's parameters, both under foreign names, to adapted parameters of the
# file and lines to print about the changes. Parameters that cannot be adapted to the model's shape stay.
Adapter = Callable[[State, State], tuple[State, list[str]]]


@dataclass(frozen=True)
class CheckpointFormat:
    """A foreign checkpoint format.

    Attributes:
        description: for help texts.
        name_of: our parameter name to the foreign one.
        not_in_file: prefixes of our names that such files do not contain (they are newly initialised).
        not_in_model: prefixes of foreign names that are not used if the model does not have them.
        adapt: further changes that such files need, such as a choice of class rows.
        restore: function that reverses ``adapt`` for parameters under foreign names.
        widen: function from the model's config to an adapter that enlarges parameters; used only on request.
        file_key: key of the parameters in such files; "": at the top level.
        is_of: whether a file's parameters are of this format and not of another one with the same names, for
            example by the number of class rows; same arguments as ``adapt``.
        by_name_only: whether the format is used only if it is named, and never recognised.
        class_names: class names by row ("": none) in published files, by number of rows in the class head.
    """

    description: str
    name_of: Callable[[str], str]
    not_in_file: tuple[str, ...] = ()
    not_in_model: tuple[str, ...] = ()
    adapt: Adapter | None = None
    restore: Callable[[State], State] | None = None
    widen: Callable[[CfgNode], Adapter] | None = None
    file_key: str = "model"
    is_of: Callable[[State, State], bool] | None = None
    by_name_only: bool = False
    class_names: Mapping[int, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Dialect:
    """Parameter names that another library, or an older release, uses for foreign formats.

    Attributes:
        description: description of the library.
        formats: names in :data:`CONVERTER_REGISTRY` of the formats that it is translated to.
        model_type: model type in the Hub's ``config.json`` beside such a file; "": there is none.
        is_spoken_in: function that says whether a file's parameters have such names.
        translate: function that renames the file's parameters to the names of the formats.
    """

    description: str
    formats: tuple[str, ...]
    model_type: str
    is_spoken_in: Callable[[Collection[str]], bool]
    translate: Callable[[State], State]


# Projects add theirs.
DIALECTS: list[Dialect] = []

# By meta-architecture and name; projects add theirs.
CONVERTER_REGISTRY: dict[str, dict[str, CheckpointFormat]] = {}


def checkpoint_format(meta_architecture: str, name: str) -> CheckpointFormat:
    """Return a format of a meta-architecture by its name.

    Raises:
        UserError: if the meta-architecture has no format of this name.
    """
    formats = CONVERTER_REGISTRY.get(meta_architecture, {})
    if name not in formats:
        known = ", ".join(formats) or "none"
        raise UserError(
            f"no checkpoint format '{name}' for {meta_architecture}: known formats are {known}"
        )
    return formats[name]


def _list(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def foreign_names(ours: State, fmt: CheckpointFormat) -> State:
    """Return those of our parameters that the format contains, under its names."""
    return {
        fmt.name_of(name): value
        for name, value in ours.items()
        if not name.startswith(fmt.not_in_file)
    }


def translated(state: State) -> tuple[State, Dialect | None]:
    """Return a file's parameters under the names of a foreign format, and their dialect, if any."""
    for dialect in DIALECTS:
        if dialect.is_spoken_in(state):
            return dialect.translate(state), dialect
    return state, None


def adapt_foreign(
    state: State, model: State, fmt: CheckpointFormat, widen: Adapter | None = None
) -> tuple[State, list[str]]:
    """Fit the tensors of a foreign state dict to our model, before :func:`from_foreign`.

    Args:
        state: the foreign parameters; not changed.
        model: our model's state dict. ``widen`` takes the values of new parts from it; without
            ``widen`` shapes are enough.
        fmt: the format of ``state``.
        widen: what ``fmt.widen`` returned.

    Returns:
        Parameters under foreign names, and lines that describe the changes.
    """
    notes = []
    target = foreign_names(model, fmt)
    for step in (fmt.adapt, widen):
        if step is not None:
            state, lines = step(state, target)
            notes += lines
    return state, notes


def sort_names(
    names: Collection[str], model: Collection[str], fmt: CheckpointFormat
) -> tuple[dict[str, str], list[str], list[str]]:
    """Match a file's parameter names with a model's.

    Args:
        names: names of the file's parameters.
        model: names of the model's parameters.
        fmt: format of the file.

    Returns:
        Our names by foreign name, for all parameters in the format; unused names of the file; and its unknown
        names.
    """
    ours = {fmt.name_of(name): name for name in model if not name.startswith(fmt.not_in_file)}
    unused = [n for n in names if n.startswith(fmt.not_in_model) and n not in ours]
    return ours, unused, sorted({*names} - ours.keys() - {*unused})


def from_foreign(
    state: State, model: State, fmt: CheckpointFormat
) -> tuple[State, list[str], list[str]]:
    """Rename a foreign state dict to ours.

    Args:
        state: the foreign parameters.
        model: our model's state dict (only shapes are used).
        fmt: the format of ``state``.

    Returns:
        Our state dict, our names that the format does not contain, and unused foreign names.

    Raises:
        UserError: if a parameter is missing, unknown or has another shape; the message lists them.
    """
    names, unused, unknown = sort_names(state, model, fmt)
    missing = sorted(names.keys() - state.keys())
    if not names.keys() & state.keys():
        raise UserError(
            f"the file holds no parameter of the format '{fmt.description}' (it has "
            f"{_list(sorted(state), 3)}): choose another --format or file"
        )
    misshapen = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(model[ours].shape)}"
        for name, ours in names.items()
        if name in state and state[name].shape != model[ours].shape
    ]
    by_fault = {"missing": missing, "unknown": unknown, "misshapen": misshapen}
    faults = [f"{len(found)} {fault}: {_list(found)}" for fault, found in by_fault.items() if found]
    if faults:
        raise UserError(
            "the file does not fit the model of --config-file; " + "; ".join(faults) + "; set "
            "classes, slots, frames and widths in the config to those of the file"
            + (", or enlarge them with --widen" if misshapen and fmt.widen else "")
        )
    converted = {ours: state[name] for name, ours in names.items()}
    fresh = [ours for ours in model if ours not in converted]
    return converted, fresh, unused


def published_class_names(state: State, head: ClassHead, fmt: CheckpointFormat) -> list[str] | None:
    """Return the class names of a converted file by row ("": a row without a name).

    The result is None if no published file of the format has a class head of this size.

    Args:
        state: the parameters under our names.
        head: class head of the model.
        fmt: original format of the file.
    """
    rows = {len(v) for name, v in state.items() if name.startswith(head.parameters) and v.dim()}
    names = fmt.class_names.get(rows.pop()) if len(rows) == 1 else None
    return None if names is None else [*names]


def to_foreign(state: State, model: State, fmt: CheckpointFormat) -> State:
    """Rename our state dict to a foreign one; parameters that the format does not have are left out.

    Raises:
        UserError: if ``state`` does not belong to the model.
    """
    shared = model.keys() & state.keys()
    for fault, found in (
        ("misses", model.keys() - shared),
        ("adds", state.keys() - shared),
        ("misshapes", {name for name in shared if state[name].shape != model[name].shape}),
    ):
        if found:
            raise UserError(
                f"the file is not one of this config's model: it {fault} {_list(sorted(found))}"
            )
    # In the model's order, which may carry information that the foreign names do not.
    foreign = foreign_names({ours: state[ours] for ours in model}, fmt)
    return foreign if fmt.restore is None else fmt.restore(foreign)

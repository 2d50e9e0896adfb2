"""Checkpoints of other implementations to ours and back, key by key.

A project describes a foreign format by one function from its own parameter names to the foreign
ones; both directions and all checks follow from it and from the model's own names and shapes.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from detectron2.config import CfgNode
from torch import Tensor

from d2video.structures import ClassHead
from d2video.utils.errors import UserError

State = dict[str, Tensor]
# Takes a file's parameters and a model's, both under foreign names; gives parameters in place of the
# file's, and what differs, in lines to print. What it cannot bring into the model's shape stays.
Adapter = Callable[[State, State], tuple[State, list[str]]]


@dataclass(frozen=True)
class CheckpointFormat:
    """A foreign checkpoint format.

    Attributes:
        description: for help texts.
        name_of: our parameter name to the foreign one.
        not_in_file: prefixes of our names that such files do not provide (they start anew).
        not_in_model: prefixes of foreign names that have no use here, where the model lacks them.
        adapt: what such files need besides, such as a choice of class rows.
        restore: undoes ``adapt`` on the way back, of parameters under foreign names.
        widen: by the config of the model, an adapter that enlarges parameters; for those who ask.
        file_key: under which such files hold the parameters; "": at their top.
        is_of: whether a file's parameters are of this format and not of another with the same names, such
            as by the number of class rows; takes what ``adapt`` takes.
        by_name_only: never recognised; for those who name the format.
        class_names: of published files, by the number of rows of the class head: what each row is called
            ("": nothing).
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
    """Names that another library, or an older release, gives to the parameters of foreign formats.

    Attributes:
        description: of the library.
        formats: names in :data:`CONVERTER_REGISTRY` of the formats that it is translated to.
        model_type: what the Hub's ``config.json`` beside such a file calls its model; "": there is none.
        is_spoken_in: whether a file's parameters have such names.
        translate: the file's parameters under the names of the formats.
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
    """
    Raises:
        UserError: the meta-architecture has no format of this name.
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
    """Our parameters that the format has, under its names."""
    return {
        fmt.name_of(name): value
        for name, value in ours.items()
        if not name.startswith(fmt.not_in_file)
    }


def translated(state: State) -> tuple[State, Dialect | None]:
    """A file's parameters under the names of a foreign format, and the dialect that they were in."""
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
        parameters under foreign names, and lines that say what was done to them.
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
    """How a file's names go with a model's.

    Args:
        names: of the file's parameters.
        model: names of the model's.

    Returns:
        ours by foreign name, of all that the format provides; names of the file without use here; and its
        unknown names.
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
        model: our model's state dict (shapes only are used).
        fmt: the format of ``state``.

    Returns:
        our state dict, our names that the format does not provide, foreign names without use here.

    Raises:
        UserError: a parameter is missing, unknown or of another shape; the message lists them.
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
    """The class names by row of a converted file ("": a row without one); None if its class head is not
    of a size that published files of the format have.

    Args:
        state: the parameters under our names.
        head: of the model.
        fmt: the format that the file was in.
    """
    rows = {len(v) for name, v in state.items() if name.startswith(head.parameters) and v.dim()}
    names = fmt.class_names.get(rows.pop()) if len(rows) == 1 else None
    return None if names is None else [*names]


def to_foreign(state: State, model: State, fmt: CheckpointFormat) -> State:
    """Rename our state dict to a foreign one; the parts that the format lacks are left out.

    Raises:
        UserError: ``state`` is not one of the model's.
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
    # In the model's order, which may say what the foreign names do not.
    foreign = foreign_names({ours: state[ours] for ours in model}, fmt)
    return foreign if fmt.restore is None else fmt.restore(foreign)

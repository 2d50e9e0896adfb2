"""Checkpoints of other implementations to ours and back, key by key.

A project describes a foreign format by one function from its own parameter names to the foreign
ones; both directions and all checks follow from it and from the model's own names and shapes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from d2video.utils.errors import UserError


@dataclass(frozen=True)
class CheckpointFormat:
    """A foreign checkpoint format.

    Attributes:
        description: for help texts.
        name_of: our parameter name to the foreign one.
        not_in_file: prefixes of our names that such files do not provide (they start anew).
        not_in_model: prefixes of foreign names that have no use here.
    """

    description: str
    name_of: Callable[[str], str]
    not_in_file: tuple[str, ...] = ()
    not_in_model: tuple[str, ...] = ()


class _ConverterRegistry:
    """Foreign formats by meta-architecture and format name."""

    def __init__(self) -> None:
        self._formats: dict[str, dict[str, CheckpointFormat]] = {}

    def add(self, meta_architecture: str, formats: dict[str, CheckpointFormat]) -> None:
        self._formats[meta_architecture] = formats

    def get(self, meta_architecture: str, name: str) -> CheckpointFormat:
        formats = self._formats.get(meta_architecture, {})
        if name not in formats:
            known = ", ".join(formats) or "none"
            raise UserError(
                f"no checkpoint format '{name}' for {meta_architecture}: known formats are {known}"
            )
        return formats[name]

    def names(self) -> list[str]:
        return sorted({name for formats in self._formats.values() for name in formats})


CONVERTER_REGISTRY = _ConverterRegistry()


def _list(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def from_foreign(
    state: dict[str, Tensor], model: dict[str, Tensor], fmt: CheckpointFormat
) -> tuple[dict[str, Tensor], list[str], list[str]]:
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
    names = {fmt.name_of(ours): ours for ours in model if not ours.startswith(fmt.not_in_file)}
    unused = [name for name in state if name.startswith(fmt.not_in_model)]
    missing = sorted(set(names) - set(state))
    unknown = sorted(set(state) - set(names) - set(unused))
    if not set(names) & set(state):
        raise UserError(
            f"the file holds no parameter of the format '{fmt.description}' (it has "
            f"{_list(sorted(state), 3)}): choose another --format or file"
        )
    misshapen = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(model[ours].shape)}"
        for name, ours in names.items()
        if name in state and state[name].shape != model[ours].shape
    ]
    faults = []
    for fault, found in (("missing", missing), ("unknown", unknown), ("misshapen", misshapen)):
        if found:
            faults.append(f"{len(found)} {fault}: {_list(found)}")
    if faults:
        raise UserError(
            "the file does not fit the model of --config-file; " + "; ".join(faults) + "; set "
            "classes, slots, frames and widths in the config to those of the file"
        )
    converted = {ours: state[name] for name, ours in names.items()}
    fresh = [ours for ours in model if ours not in converted]
    return converted, fresh, unused


def to_foreign(
    state: dict[str, Tensor], model: dict[str, Tensor], fmt: CheckpointFormat
) -> dict[str, Tensor]:
    """Rename our state dict to a foreign one; the parts that the format lacks are left out.

    Raises:
        UserError: ``state`` is not one of the model's.
    """
    missing, unknown = sorted(set(model) - set(state)), sorted(set(state) - set(model))
    misshapen = sorted(n for n in set(model) & set(state) if state[n].shape != model[n].shape)
    for fault, found in (("misses", missing), ("adds", unknown), ("misshapes", misshapen)):
        if found:
            raise UserError(
                f"the file is not one of this config's model: it {fault} {_list(found)}"
            )
    return {
        fmt.name_of(ours): value
        for ours, value in state.items()
        if not ours.startswith(fmt.not_in_file)
    }

"""Recognise which model a checkpoint belongs to, from its metadata or its parameter names."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from d2video.checkpoint.about import META_ARCHITECTURE
from d2video.checkpoint.convert import (
    CONVERTER_REGISTRY,
    CheckpointFormat,
    State,
    adapt_foreign,
    foreign_names,
    sort_names,
    translated,
)
from d2video.checkpoint.efficientnet_names import efficientnet_format
from d2video.checkpoint.torchvision_names import resnet_format
from d2video.utils.errors import UserError

# Parameters that checkpoints of a meta-architecture have, one tuple for each variant. If a file matches
# several, the longest one decides, so an extended model needs a longer one. Projects add theirs.
MODEL_SIGNATURES: dict[str, list[tuple[str, ...]]] = {}


@dataclass(frozen=True)
class ModelSize:
    """A config key whose value is visible in the shape of a parameter.

    Attributes:
        key: full name of the key.
        parameter: our name of the parameter.
        beside: rows of the parameter that the key does not count, such as "no object".
        along: further keys and values to set for a file with another value.
    """

    key: str
    parameter: str
    beside: int = 0
    along: tuple[Any, ...] = ()


# Sizes, by meta-architecture, in which fine-tuned models may differ from the published ones. Projects add
# theirs.
MODEL_SIZES: dict[str, list[ModelSize]] = {}

# Keys for a model whose classes are not those of the config's datasets.
OTHER_CLASSES = ("DATASETS.TRAIN", (), "DATASETS.TEST", ())


def recognise(names: Collection[str]) -> list[tuple[str, str]]:
    """Return the (meta-architecture, format of :data:`CONVERTER_REGISTRY`) pairs that parameter names match.

    The format "" is d2video's own. There are several pairs if formats share names, none for unknown names.
    """
    found: dict[tuple[str, str], int] = {}
    for architecture, signatures in MODEL_SIGNATURES.items():
        formats = CONVERTER_REGISTRY.get(architecture, {})
        for signature in signatures:
            foreign = {
                label: {fmt.name_of(name) for name in signature}
                for label, fmt in formats.items()
                if not any(name.startswith(fmt.not_in_file) for name in signature)
            }
            for label, wanted in {**foreign, "": {*signature}}.items():
                if wanted <= {*names} and (label == "" or wanted != {*signature}):
                    found[architecture, label] = len(wanted)
    longest = max(found.values(), default=0)
    return [each for each, length in found.items() if length == longest]


@dataclass(frozen=True)
class ForeignFile:
    """A foreign file that a model can load.

    Attributes:
        state: parameters of the file under the names of ``format``.
        format: format that maps them to the model's parameters.
        title: description of the file, for messages.
    """

    state: State
    format: CheckpointFormat
    title: str

    def renamed(self, model: State) -> tuple[State, str]:
        """Return the parameters under the model's names, and a line that describes the changes.

        Shapes are not checked. Parameters that the model does not have keep their names.

        Args:
            model: the model's state dict; shapes are enough.

        Raises:
            UserError: if the file does not fit the config, so that its names cannot be matched.
        """
        state, notes = adapt_foreign(self.state, model, self.format)
        ours, unused, _ = sort_names(state, model, self.format)
        dropped = {*unused}
        renamed = {ours.get(n, n): value for n, value in state.items() if n not in dropped}
        done = [f"recognised as {self.title}; {len(renamed)} parameters"]
        if unused:
            done.append(f"{len(unused)} more are not used")
        return renamed, "; ".join([", ".join(done), *notes])


def foreign_file(content: dict[str, Any], architecture: str, model: State) -> ForeignFile | None:
    """Recognise a checkpoint of another implementation.

    Args:
        content: content of the file, with its parameters under "model".
        architecture: meta-architecture of the model.
        model: state dict of the model; shapes are enough.

    Returns:
        The foreign file; None for a checkpoint of the model itself, and if no format of its meta-architecture
        fits.

    Raises:
        UserError: if several formats fit.
    """
    state = content["model"]
    if not all(isinstance(value, Tensor) for value in state.values()):
        return None  # of detectron2's model zoo
    if content.get(META_ARCHITECTURE) == architecture or (architecture, "") in recognise(state):
        return None
    if backbone := resnet_format(state, model) or efficientnet_format(state, model):
        state = {n: v for n, v in state.items() if not n.endswith(".num_batches_tracked")}
        return ForeignFile(state, backbone, backbone.description)
    state, dialect = translated(state)
    spelled = f" in the names of {dialect.description}" if dialect else ""
    formats = {
        label: fmt
        for label, fmt in CONVERTER_REGISTRY.get(architecture, {}).items()
        if dialect is None or label in dialect.formats
    }
    found = _fitting(state, architecture, model, formats)
    if len(found) > 1:
        listed = ", ".join(f"{label} ({formats[label].description})" for label in found)
        raise UserError(
            f"its parameters have the names of several formats: {listed}; convert it with "
            f"d2video convert --format {found[0]} or another of them"
        )
    if not found:
        return None
    fmt = formats[found[0]]
    return ForeignFile(state, fmt, fmt.description + spelled)


def _fitting(
    state: State, architecture: str, model: State, formats: dict[str, CheckpointFormat]
) -> list[str]:
    """Return the formats that a file may have.

    Candidates are formats whose names the file contains, at least outside the backbone. Those with the fewest
    differing names are chosen, then those that provide the most parameters of the model.
    """
    by_signature = {label for found, label in recognise(state) if found == architecture}
    faults: dict[str, tuple[int, int]] = {}
    for label, fmt in formats.items():
        ours, _, unknown = sort_names(state, model, fmt)
        if fmt.by_name_only or all(name == own for name, own in ours.items()):
            continue
        differing = [*(ours.keys() - state.keys()), *unknown]
        if label in by_signature or all("backbone." in name for name in differing):
            faults[label] = (len(differing), -len(ours))
    least = min(faults.values(), default=None)
    found = [label for label, each in faults.items() if each == least]
    if len(found) > 1:
        found = [label for label in found if _is_of(state, model, formats[label])] or found
    return found


def _is_of(state: State, model: State, fmt: CheckpointFormat) -> bool:
    return fmt.is_of is None or fmt.is_of(state, foreign_names(model, fmt))


def describe_origin(content: dict[str, Any], model: str, given_as: str = "") -> str:
    """Describe a checkpoint that is not one of ``model`` in the format ``given_as``, and what to do.

    Args:
        content: content of the file, with its parameters under "model".
        model: meta-architecture that the file was given to.
        given_as: a format of :data:`CONVERTER_REGISTRY`, or "" for d2video's own.

    Returns:
        The description; "" if the checkpoint is one of ``model`` or unknown.
    """
    state, dialect = translated(content["model"])
    origins = recognise(state)
    if isinstance(own := content.get(META_ARCHITECTURE), str):
        origins = [(own, "")]
    if not origins or (model, given_as) in origins:
        return ""
    titles = [
        CONVERTER_REGISTRY[architecture][label].description if label else architecture
        for architecture, label in origins
    ]
    whose = " or ".join(dict.fromkeys(titles))
    if dialect:
        whose += f" in the names of {dialect.description}"
    formats = [label for architecture, label in origins if architecture == model]
    others = " or ".join(dict.fromkeys(architecture for architecture, _ in origins))
    remedy = f"choose a config of {others}, or weights of {model}"
    if formats:
        how = f"give --format {' or '.join(formats)}" if any(formats) else "give --reverse"
        remedy = f"{how}, or leave out --format"
    return f"these are weights of {whose}, but the model is {model}: {remedy}"

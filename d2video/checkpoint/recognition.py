"""Whose a checkpoint is, by what it says or by the names of its parameters: for messages."""

from collections.abc import Collection
from typing import Any

from d2video.checkpoint.about import META_ARCHITECTURE
from d2video.checkpoint.convert import CONVERTER_REGISTRY

# By meta-architecture: parameters that its checkpoints have, one tuple for each variant. Of several that
# a file holds the longest decides, so that an extended model's is longer. Projects add theirs.
MODEL_SIGNATURES: dict[str, list[tuple[str, ...]]] = {}


def recognise(names: Collection[str]) -> list[tuple[str, str]]:
    """The (meta-architecture, format of :data:`CONVERTER_REGISTRY`) that parameters' names are of.

    "" is this library's own format. Several, where the names are the same; none, if they are unknown.
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


def describe_origin(content: dict[str, Any], model: str, given_as: str = "") -> str:
    """What a checkpoint is if it is not one of ``model`` in the format ``given_as``, and what to do;
    else "".

    Args:
        content: of the file, with its parameters under "model".
        model: the meta-architecture that it was given to.
        given_as: a format of :data:`CONVERTER_REGISTRY`, or "" for this library's own.
    """
    origins = recognise(content["model"])
    if isinstance(own := content.get(META_ARCHITECTURE), str):
        origins = [(own, "")]
    if not origins or (model, given_as) in origins:
        return ""
    titles = [
        CONVERTER_REGISTRY[architecture][label].description if label else architecture
        for architecture, label in origins
    ]
    formats = [label for architecture, label in origins if architecture == model]
    others = " or ".join(dict.fromkeys(architecture for architecture, _ in origins))
    remedy = f"choose a config of {others}, or weights of {model}"
    if formats:
        how = (
            f"--format {' or '.join(formats)}" if any(formats) else "--reverse, or without --format"
        )
        remedy = f"convert them with tools/convert_checkpoint.py {how}"
    return f"these are weights of {' or '.join(titles)}, and the model is {model}: {remedy}"

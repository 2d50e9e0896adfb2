"""``manifest.json``: what an exported model takes and answers, and how it is run."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from d2video.utils.errors import UserError

FORMAT = 1
FILE_NAME = "manifest.json"


@dataclass(frozen=True)
class GraphInput:
    """An input of a graph.

    Attributes:
        dtype: numpy's name, such as "uint8".
        shape: a number for a size that is fixed, a name for one that may change from call to call; equal
            names of one graph are equal sizes.
    """

    name: str
    dtype: str
    shape: list[int | str]


@dataclass(frozen=True)
class GraphEntry:
    """A graph: its file in the folder, its inputs and the names of its outputs, in order."""

    file: str
    inputs: list[GraphInput]
    outputs: list[str]


@dataclass(frozen=True)
class Manifest:
    """All that :class:`~d2video.deploy.Runner` knows of a model.

    Attributes:
        model: name of the meta-architecture.
        runtime: what runs the graphs: "onnx", "torch" or "aoti".
        task: ``module:class`` of the :class:`~d2video.deploy.task.DeployedTask`.
        graphs: by name.
        settings: arguments of the task, such as thresholds.
        min_size, max_size: of the resizing (INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST); 0: none.
        class_names: by class index, "" for a class without a name; None if unknown.
        config: the model's config, as YAML.
        d2video: the version that wrote it.
        format: of this file.
    """

    model: str
    runtime: str
    task: str
    graphs: dict[str, GraphEntry]
    settings: dict[str, Any]
    min_size: int
    max_size: int
    class_names: list[str] | None
    config: str
    d2video: str
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


def read_manifest(folder: Path) -> Manifest:
    """
    Raises:
        UserError: not such a folder, a damaged file, or one of another version.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise UserError(
            f"{folder} has no {FILE_NAME}: give a folder that 'd2video export' has written"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are such
        raise UserError(f"{path} cannot be read ({error}): export the model again") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise UserError(
            f"{path} has format {found}, this d2video reads {FORMAT}: export the model again, or "
            "install the d2video that wrote it"
        )
    try:
        graphs = {
            name: GraphEntry(
                graph["file"],
                [GraphInput(**each) for each in graph["inputs"]],
                graph["outputs"],
            )
            for name, graph in content["graphs"].items()
        }
        return Manifest(**(content | {"graphs": graphs}))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): export the model again") from error

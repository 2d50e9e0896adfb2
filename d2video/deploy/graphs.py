"""Graphs of an exported model, run on numpy arrays."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from d2video.deploy.manifest import GraphEntry, Manifest
from d2video.utils.errors import UserError

# What runs a manifest's graphs, by its ``runtime``: module and class. Only the first does without torch.
_RUNTIMES = {
    "onnx": "d2video.deploy.graphs:OnnxGraph",
    "torch": "d2video.export.programs:TorchGraph",
    "aoti": "d2video.export.programs:AOTIGraph",
}


class Graph(ABC):
    """Calls one graph; the inputs are checked against the manifest.

    Args:
        path: its file.
        entry: of the manifest.
        device: "cpu" or "cuda".
        threads: of the CPU; 0: the runtime chooses.

    Raises:
        UserError: the file cannot be loaded.
    """

    def __init__(self, path: Path, entry: GraphEntry, device: str, threads: int):
        self.path = path
        self.entry = entry

    def __call__(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name.

        Raises:
            UserError: an input has another type or size than the graph takes.
        """
        sizes: dict[str, int] = {}
        for expected in self.entry.inputs:
            array = arrays[expected.name]
            fits = array.dtype == expected.dtype and array.ndim == len(expected.shape)
            for size, wanted in zip(array.shape, expected.shape) if fits else ():
                if isinstance(wanted, str):
                    wanted = sizes.setdefault(wanted, size)
                fits &= size == wanted
            if not fits:
                shape = ", ".join(map(str, expected.shape))
                raise UserError(
                    f"{self.path}: input '{expected.name}' is {array.dtype} {array.shape}, the model "
                    f"takes {expected.dtype} ({shape})"
                )
        inputs = [np.ascontiguousarray(arrays[each.name]) for each in self.entry.inputs]
        return dict(zip(self.entry.outputs, self.run(inputs), strict=True))

    @abstractmethod
    def run(self, inputs: list[np.ndarray]) -> Sequence[np.ndarray]:
        """The outputs, in order."""


class OnnxGraph(Graph):
    """A graph in onnxruntime."""

    def __init__(self, path: Path, entry: GraphEntry, device: str, threads: int):
        super().__init__(path, entry, device, threads)
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as errors
        except ImportError as error:
            raise UserError(f"{error}: run 'pip install onnxruntime' to run ONNX models") from error
        provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device]
        if provider not in onnxruntime.get_available_providers():
            raise UserError(
                f"device '{device}': this onnxruntime lacks the {provider}: install onnxruntime-gpu, or "
                "choose 'cpu'"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        refused = (
            *(errors.Fail, errors.InvalidProtobuf, errors.InvalidGraph, errors.InvalidArgument),
            *(errors.NoSuchFile, errors.NotImplemented, errors.RuntimeException),
        )
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=[provider])
        except refused as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{path} cannot be loaded ({reason}): export the model again"
            ) from error
        self._names = [each.name for each in entry.inputs]

    def run(self, inputs: list[np.ndarray]) -> Sequence[np.ndarray]:
        return self._session.run(self.entry.outputs, dict(zip(self._names, inputs, strict=True)))


def open_graphs(folder: Path, manifest: Manifest, device: str, threads: int) -> dict[str, Graph]:
    """All graphs of a manifest.

    Raises:
        UserError: a file is missing or damaged, or the runtime or device is not there.
    """
    if device not in ("cpu", "cuda"):
        raise UserError(f"device '{device}' is unknown: choose 'cpu' or 'cuda'")
    if manifest.runtime not in _RUNTIMES:
        raise UserError(
            f"{folder}: runtime '{manifest.runtime}' is unknown: export the model again"
        )
    runtime = load_class(_RUNTIMES[manifest.runtime])
    graphs = {}
    for name, entry in manifest.graphs.items():
        path = folder / Path(entry.file).name
        if not path.is_file():
            raise UserError(f"{path} is missing: copy the whole folder, or export the model again")
        graphs[name] = runtime(path, entry, device, threads)
    return graphs


def load_class(place: str) -> Any:
    """The class that ``module:class`` names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)

"""Programs of torch.export, run like other graphs; they need torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from d2video.deploy.graphs import Graph
from d2video.deploy.manifest import GraphEntry
from d2video.utils.errors import UserError


class TorchGraph(Graph):
    """A program that ``torch.export.save`` has written."""

    def __init__(self, path: Path, entry: GraphEntry, device: str, threads: int):
        super().__init__(path, entry, device, threads)
        self.device = device
        self._call = self.load(path)

    def load(self, path: Path):
        try:
            program = torch.export.load(path)
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"{path} cannot be loaded ({str(error).splitlines()[0]}): export the model again"
            ) from error
        return program.module().to(self.device)

    def run(self, inputs: list[np.ndarray]) -> Sequence[np.ndarray]:
        with torch.no_grad():
            found = self._call(*(torch.from_numpy(each).to(self.device) for each in inputs))
        return [each.cpu().numpy() for each in found]


class AOTIGraph(TorchGraph):
    """A package that AOTInductor has compiled, for the kind of machine that compiled it."""

    def load(self, path: Path):
        try:
            return torch._inductor.aoti_load_package(str(path))
        except RuntimeError as error:
            raise UserError(
                f"{path} cannot be loaded ({str(error).splitlines()[0]}): export the model on this kind "
                "of machine"
            ) from error

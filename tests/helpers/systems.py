"""What tests that run every system know of each, by discovery.

``tests/projects/<Name>/system.py`` declares a system to them:

* ``write_data(root)`` writes a handful of generated samples where the built-in data sets look below
  ``root`` (DETECTRON2_DATASETS);
* ``training_cfg(*options)`` gives the config of a training on them, of a model that takes
  milliseconds a step and draws random numbers, so that a test sees whether they go on;
* ``CONFIG`` is the config file that is fuzzed, relative to the tree that holds the project;
* ``fuzzed_models()`` gives (config, prefixes of the keys that are fuzzed) pairs;
* ``gpu_runs()`` gives :class:`GpuRun`, what runs on the pretended GPU.
"""

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from tests import projects

_DECLARED = sorted(path for root in projects.__path__ for path in Path(root).glob("*/system.py"))
SYSTEMS = tuple(path.parent.name for path in _DECLARED)


@dataclass(frozen=True)
class GpuRun:
    """A model on the pretended GPU.

    Attributes:
        cfg: of the model.
        batch: of a training step.
        size: (height, width) of the answers to the video.
        video: frames (3, h, w) uint8 for ``stream_video``.
        inputs: for ``forward`` at inference.
        step_waits, frame_waits: how often the host waits for the GPU in a training step, and for each frame
            of a video, at most.
    """

    cfg: Any
    batch: list[dict]
    size: tuple[int, int]
    video: list[Tensor]
    inputs: list[dict] = field(default_factory=list)
    step_waits: int = 5
    frame_waits: int = 2


# Random numbers are drawn in every model, so that a test sees whether they go on.
_COMMON = {
    "SEED": 3,
    "DATASETS.TEST": (),
    "DATALOADER.NUM_WORKERS": 2,
    "SOLVER.IMS_PER_BATCH": 4,
    "SOLVER.MAX_ITER": 10,
    "SOLVER.STEPS": (),
    "SOLVER.WARMUP_ITERS": 3,
    "SOLVER.LR_SCHEDULER_NAME": "WarmupCosineLR",
    "SOLVER.CHECKPOINT_PERIOD": 5,
}


def declared(system: str) -> ModuleType:
    """The declaration of one of ``SYSTEMS``."""
    return importlib.import_module(f"tests.projects.{system}.system")


def write_data(system: str, root: Path) -> None:
    """In the places under ``root`` (DETECTRON2_DATASETS) where the built-in data sets look."""
    declared(system).write_data(root)


def system_cfg(system: str, **overrides: Any) -> Any:
    """Config of a training; in ``overrides`` two underscores are a dot."""
    values = {**_COMMON, **{key.replace("__", "."): value for key, value in overrides.items()}}
    return declared(system).training_cfg(*(item for pair in values.items() for item in pair))


def config_files() -> list[Path]:
    """The config file of every system that is fuzzed."""
    return [path.parents[3] / declared(path.parent.name).CONFIG for path in _DECLARED]

"""What it costs to make training samples, and how many workers keep a GPU busy with them."""

import math
import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from torch import Tensor

from d2video.data.build import build_train_loader
from d2video.utils.sources import IMAGE_SUFFIXES
from d2video.video.frame_names import read_pixels, split_frame_name


def loader_figures(cfg: CfgNode, num_samples: int = 16) -> dict[str, float]:
    """Make samples of DATASETS.TRAIN in this process, on one thread, as a worker of the loader does.

    The files are read again for each sample, usually from the system's cache.

    Args:
        num_samples: that are timed, after one that is not; 1 or more.

    Returns:
        ``cpu_s``: median CPU seconds of a sample; ``read_s``: of these to read and decode its images (only
        where samples name images or frames of video files); ``samples_per_s``: of one worker that has a
        core of its own; ``sample_mb``: mean size of the tensors that a worker hands over.

    Raises:
        UserError: as :func:`~d2video.data.build.build_train_loader`.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_WORKERS, cfg.SEED = 1, 0, 0
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = False  # one sample would wait for another
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        batches = iter(build_train_loader(cfg))
        next(batches)
        spent, reading, sizes = [], [], []
        for _ in range(num_samples):
            start = time.process_time()
            [sample] = next(batches)
            spent.append(time.process_time() - start)
            sizes.append(sum(tensor.nbytes for tensor in _tensors(sample)))
            names = [*_image_names(sample)]
            start = time.process_time()
            read_pixels(names)
            reading.append(time.process_time() - start if names else math.nan)
    finally:
        torch.set_num_threads(threads)
    figures = {
        "cpu_s": statistics.median(spent),
        "read_s": statistics.median(reading),
        "samples_per_s": 1 / statistics.mean(spent),
        "sample_mb": statistics.mean(sizes) / 1e6,
    }
    return {name: value for name, value in figures.items() if not math.isnan(value)}


def workers_needed(cpu_s: float, samples: int, step_s: float) -> int:
    """Workers, each with a core of its own, that make the samples of a training step while it lasts.

    Args:
        cpu_s: seconds of one sample, see :func:`loader_figures`.
        samples: that one GPU takes in a step.
        step_s: seconds of that step.
    """
    return max(math.ceil(cpu_s * samples / step_s), 1)


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in a sample."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Instances):
        yield from _tensors(value.get_fields())
    elif isinstance(value, Mapping):
        yield from _tensors([*value.values()])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
    elif isinstance(getattr(value, "tensor", None), Tensor):  # detectron2's boxes and masks
        yield value.tensor


def _image_names(sample: Mapping[str, Any]) -> Iterator[str]:
    """The images, or frames of video files, that a sample was read from."""
    names = sample.get("file_names") or [sample.get("file_name", "")]
    for name in names:
        if name.lower().endswith(tuple(IMAGE_SUFFIXES)) or split_frame_name(name):
            yield name
    for previous in sample.get("previous", ()):
        yield from _image_names(previous)

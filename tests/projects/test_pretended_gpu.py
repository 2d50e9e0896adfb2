"""Every system on the pretended GPU, in float32 and bfloat16: nothing lies on the wrong device, the numbers
are those of the CPU, and the host rarely waits.

What a wait costs depends on how much the GPU has in hand; their number is what a test can hold.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import Tensor

from d2video.engine.solver import build_optimizer
from d2video.engine.step import build_step_trainer
from d2video.video.frame_source import Frame
from tests.helpers.pretend_gpu import on_pretend_gpu, recorded
from tests.helpers.systems import SYSTEMS, GpuRun, declared

IN_AN_IMAGE = 3  # waits, at most


def built(run: GpuRun, precision: str, device: str) -> tuple[Any, Any]:
    cfg = run.cfg.clone()
    cfg.MODEL.DEVICE = device
    if precision:
        cfg.SOLVER.AMP.ENABLED, cfg.SOLVER.AMP.DTYPE = True, precision
        cfg.TEST.PRECISION = precision
    torch.manual_seed(0)
    return cfg, build_model(cfg)


def waits_of(work: Callable[[], Any]) -> list[str]:
    recorded.clear()
    work()
    return [*map(str, recorded)]


def train(run: GpuRun, cfg: Any, model: Any) -> list[str]:
    """The waits of a second step: the first one makes what stays."""
    trainer = build_step_trainer(cfg, model.train(), [run.batch] * 2, build_optimizer(cfg, model))
    with EventStorage():
        trainer.iter = 0
        trainer.run_step()
        trainer.iter = 1
        return waits_of(trainer.run_step)


def answer(run: GpuRun, model: Any) -> list[tuple[list[str], int]]:
    """The waits for each input and for the video, and how many are allowed; all answers are read."""
    model.eval()
    found = []
    for item in run.inputs:
        image = item["image"]
        is_image = isinstance(image, Tensor) and image.dim() == 3
        allowed = IN_AN_IMAGE if is_image else run.frame_waits * len(image)
        found.append((waits_of(lambda item=item: model([item])), allowed))
    answers: list[Any] = []
    waits = waits_of(lambda: answers.extend(model.stream_video(iter(run.video), run.size)))
    assert len(answers) == len(run.video)
    for index, each in enumerate(answers):
        model.task.read(Frame(index, 0.0, np.zeros((*run.size, 3), np.uint8)), each)
    return [*found, (waits, run.frame_waits * len(run.video))]


def losses(run: GpuRun, model: Any) -> dict[str, float]:
    torch.manual_seed(1)
    with EventStorage():
        return {name: loss.item() for name, loss in model.train()(run.batch).items()}


def compare(run: GpuRun) -> None:
    """The losses on the GPU are those on the CPU, but for rounding."""
    on_gpu, on_cpu = (losses(run, built(run, "", device)[1]) for device in ("cuda", "cpu"))
    assert on_gpu == pytest.approx(on_cpu, rel=1e-4), (on_gpu, on_cpu)


def everything(system: str, name: str, precision: str) -> list[tuple[list[str], int]]:
    run = declared(system).gpu_runs()[name]
    if not precision:
        compare(run)
    cfg, model = built(run, precision, "cuda")
    return [(train(run, cfg, model), run.step_waits), *answer(run, model)]


RUNS = [(system, name) for system in SYSTEMS for name in declared(system).gpu_runs()]


@pytest.mark.parametrize("precision", ["", "bfloat16"])
@pytest.mark.parametrize(("system", "name"), RUNS)
def test_on_a_gpu(system, name, precision):
    for waits, allowed in on_pretend_gpu(everything, system, name, precision):
        assert len(waits) <= allowed, Counter(waits)

"""MODEL.COMPILE finds each part to be one graph, in training, under autocast and at inference."""

import pytest
import torch
import torchvision
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import nn

from d2video.layers import deform_conv
from tests.helpers.systems import SYSTEMS, declared

RUNS = [(system, name) for system in SYSTEMS for name in declared(system).gpu_runs()]


@pytest.mark.parametrize(
    ("system", "name"),
    [
        pytest.param(*run, marks=[] if run[0] == "IPT" else pytest.mark.long)  # 5 to 20 s each
        for run in RUNS
    ],
)
def test_no_part_breaks(monkeypatch, system, name):
    compiled = nn.Module.compile
    monkeypatch.setattr(
        nn.Module, "compile", lambda part: compiled(part, fullgraph=True, backend="eager")
    )
    # A GPU's way: what a CPU takes instead is left out of graphs on purpose.
    operator = torchvision.ops.deform_conv2d
    monkeypatch.setattr(
        deform_conv, "deform_conv2d_sampled", lambda *given: operator(*given, padding=1)
    )
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 64)
    torch._dynamo.reset()
    run = declared(system).gpu_runs()[name]
    cfg = run.cfg.clone()
    cfg.MODEL.COMPILE = True
    model = build_model(cfg)
    for mixed in (False, True):
        with EventStorage(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            sum(model.train()(run.batch).values()).backward()
    model.eval()
    assert len(list(model.stream_video(iter(run.video), run.size))) == len(run.video)

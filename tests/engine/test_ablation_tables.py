"""Every row of the ablation tables in the projects' READMEs can be trained."""

import functools
import re

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from d2video.engine import build_optimizer
from tests.helpers.ablations import OWN, Row, rows
from tests.helpers.systems import declared

ROWS = rows()


@functools.cache
def start_cfg(project: str, config: str) -> CfgNode:
    """The config that a table starts from."""
    return Row(project, "", OWN, "", config).cfg()


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_keys_change_the_config(row):
    """At full size, too, it is a config; a value that is the default would be another row's training."""
    cfg, start = row.cfg(), start_cfg(row.project, row.start)
    assert (cfg == start) == (row.keys == OWN)
    assert re.match(r"\d+\.\d|not given", row.paper)


def test_rows_differ():
    cells = [(row.project, row.config, row.keys) for row in ROWS if row.keys != OWN]
    assert len(set(cells)) == len(cells)
    assert len(set(map(str, ROWS))) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row_takes_a_training_step(row):
    cfg = row.tiny_cfg()
    torch.manual_seed(0)
    model = build_model(cfg).train()
    optimizer = build_optimizer(cfg, model)
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with EventStorage():
        losses = model(declared(row.project).ablation_batch(cfg))
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values()), losses
    without = [name for name, parameter in learned.items() if parameter.grad is None]
    # A parameter without a gradient would stop a training in several processes.
    assert not without or getattr(model, "leaves_parameters_unused", False)
    before = {name: parameter.detach().clone() for name, parameter in learned.items()}
    optimizer.step()
    assert all(parameter.isfinite().all() for parameter in learned.values())
    assert any(not torch.equal(p, before[name]) for name, p in learned.items())

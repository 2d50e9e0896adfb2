"""What is written is compared with the model, on all inputs that a system gives for it."""

import pytest
import torch
from torch import nn

from d2video.config import get_cfg
from d2video.export import Graphs, GraphSpec, export_graphs, write_export
from d2video.utils.errors import UserError


class Doubling(nn.Module):
    """(n, 2) to (n + 1, 2); as a graph, what ``wrong`` makes of the answer and of n."""

    def __init__(self, wrong):
        super().__init__()
        self.wrong = wrong

    def forward(self, x):
        answer = torch.cat([2 * x, x.new_ones(1, 2)])
        if torch.compiler.is_exporting():
            answer = self.wrong(answer, x.new_ones(x.shape[0]).sum())
        return (answer,)


@export_graphs.register
def _graphs(model: Doubling, cfg) -> Graphs:
    example, check, other = ({"x": torch.rand(n, 2)} for n in (3, 2, 0))
    spec = GraphSpec(model, example, check, {"x": {0: "n"}}, ["y"], [other])
    return Graphs("d2video.deploy.detections:Detection", {"doubled": spec})


def write(model, folder):
    return write_export(model, get_cfg(), "torch", folder)


def test_the_same_answers(tmp_path):
    assert write(Doubling(lambda answer, n: answer), tmp_path) == {"doubled": 0.0}
    assert (tmp_path / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda answer, n: answer + 0.01, "differs from the model by 0.01"),
        (lambda answer, n: answer * torch.nan, "differs from the model by nan"),
        (lambda answer, n: answer[:1], r"gives 'y' in shape \(1, 2\), the model in \(3, 2\)"),
        (lambda answer, n: answer + 0.01 * (n == 0), "differs from the model by 0.01"),
    ],
)
def test_other_answers_are_refused(tmp_path, wrong, message):
    with pytest.raises(UserError, match=message):
        write(Doubling(wrong), tmp_path)
    assert not (tmp_path / "manifest.json").exists()


def test_a_tensor_is_one_input(tmp_path, monkeypatch):
    """The trace would read one of two."""
    same = torch.rand(3, 2)
    spec = GraphSpec(nn.Identity(), {"x": same, "y": same}, {}, {}, ["z"])
    monkeypatch.setattr("d2video.export.writing.export_graphs", lambda *_: Graphs("", {"g": spec}))
    with pytest.raises(AssertionError, match="g"):
        write(nn.Identity(), tmp_path)

"""What a system offers for export: its graphs, by meta-architecture."""

from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

from detectron2.config import CfgNode
from torch import Tensor, nn

from d2video.utils.errors import UserError

Sizes = dict[int, str]


@dataclass
class GraphSpec:
    """A part of a model that becomes a graph.

    Attributes:
        module: called with the inputs in their order; returns a tuple, in evaluation mode.
        example: the inputs by name, by which the graph is traced. Where a size is dynamic it is 2 or more,
            and no two dynamic sizes are equal by chance only.
        check: other inputs, of other sizes, on which the written graph is compared with the module.
        dynamic: of each input, names of the axes whose size may change.
        outputs: names.
        more_checks: further inputs like ``check``, such as those with other numbers of tracks.
    """

    module: nn.Module
    example: dict[str, Tensor]
    check: dict[str, Tensor]
    dynamic: dict[str, Sizes]
    outputs: list[str]
    more_checks: list[dict[str, Tensor]] = field(default_factory=list)


@dataclass
class Graphs:
    """A model for export.

    Attributes:
        task: ``module:class`` of what runs the graphs, a :class:`d2video.deploy.task.DeployedTask`.
        graphs: by name.
        settings: arguments of that task, which JSON can hold.
        resizes: frames are resized by INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST.
    """

    task: str
    graphs: dict[str, GraphSpec]
    settings: dict[str, Any] = field(default_factory=dict)
    resizes: bool = True


@singledispatch
def export_graphs(model: nn.Module, cfg: CfgNode) -> Graphs:
    """The graphs of a model; a project registers a function for its meta-architecture in its
    ``export.py``: ``@export_graphs.register``.

    Args:
        model: in evaluation mode, on the CPU.
        cfg: its config.

    Raises:
        UserError: the model, or what a key asks of it, cannot be exported.
    """
    raise UserError(
        f"{type(model).__name__} cannot be exported: its project registers no export_graphs"
    )

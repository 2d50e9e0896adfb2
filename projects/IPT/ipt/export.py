"""IPT as a graph for each task, ``patches_<task>``; the tiling of whole images is done by the runner."""

import torch
from d2video.projects.ipt.ipt import IPT
from d2video.projects.ipt.official import OfficialTiling
from detectron2.config import CfgNode
from torch import Tensor, nn

from d2video.export import Graphs, GraphSpec, export_graphs


@export_graphs.register
def export_ipt(model: IPT, cfg: CfgNode) -> Graphs:
    generator = torch.Generator().manual_seed(0)
    side = model.network.patch_size

    def patches(count: int) -> dict[str, Tensor]:
        return {"patches": 255 * torch.rand(count, 3, side, side, generator=generator)}

    graphs = {
        f"patches_{task.name}": GraphSpec(
            _Patches(model, index), patches(2), patches(3), {"patches": {0: "n"}}, ["restored"]
        )
        for index, task in enumerate(model.network.tasks)
    }
    tasks = {task.name: task.scale for task in model.network.tasks}
    settings = {
        "tasks": tasks,
        "task": model.default_task or (next(iter(tasks)) if len(tasks) == 1 else ""),
        "patch_size": side,
        "official_tiling": isinstance(model.tiling, OfficialTiling),
        "official_corner": getattr(model.tiling, "corner", False),
        "self_ensemble": model.self_ensemble,
    }
    return Graphs("d2video.projects.ipt.deployed:Restoration", graphs, settings, resizes=False)


class _Patches(nn.Module):
    """Patches float32 (n, 3, p, p), 0..255, to (n, 3, s p, s p)."""

    def __init__(self, model: IPT, task: int):
        super().__init__()
        self.network = model.network
        self.task = task

    def forward(self, patches: Tensor) -> tuple[Tensor]:
        return (self.network(patches, self.task)[0],)

"""An exported IPT: the graphs ``patches_<task>`` on whole images, without torch.

Shapes: n: patches at once, p: side of a patch, s: scale of the task, H×W: an image.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from d2video.projects.ipt.official import OfficialTiling
from d2video.projects.ipt.self_ensemble import self_ensemble
from d2video.projects.ipt.tiling import Tiling, restore_by_patches

from d2video.deploy.answers import Found
from d2video.deploy.graphs import Graph
from d2video.deploy.manifest import Manifest
from d2video.deploy.task import DeployedTask
from d2video.utils.errors import UserError

# Patches that go through the network at once.
_AT_ONCE = 16


class Restored(Found):
    """The restored image, uint8 (s·H, s·W, 3), RGB; grey where the frame is: ``image``."""

    def __init__(self, image: np.ndarray):
        self.image = image

    def record(self, topk: int) -> dict[str, Any]:
        return {}

    def picture(self) -> np.ndarray:
        return self.image


class Restoration(DeployedTask):
    """Restore images one by one.

    ``patches_<task>``: patches float32 (n, 3, p, p), RGB, 0..255, to ``restored`` (n, 3, s·p, s·p).

    Args:
        tasks: the scale of each.
        task: what to do, MODEL.IPT.TASK; "": the attribute ``task`` must be set before the first image.
        patch_size: p.
        official_tiling, official_corner: of whole images (MODEL.IPT.TILING, OFFICIAL_CORNER).
        self_ensemble: give the mean of the answers to the eight flips and quarter turns.
    """

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        manifest: Manifest,
        *,
        tasks: dict[str, int],
        task: str,
        patch_size: int,
        official_tiling: bool,
        official_corner: bool,
        self_ensemble: bool,
    ):
        super().__init__(graphs, manifest)
        self.tasks = tasks
        self.task = task
        self.tiling = Tiling(patch_size)
        if official_tiling:
            self.tiling = OfficialTiling(patch_size, corner=official_corner)
        self.self_ensemble = self_ensemble

    def stream(self, images: Iterable[np.ndarray]) -> Iterator[Found]:
        return map(self.answer_image, images)

    def answer_image(self, image: np.ndarray) -> Restored:
        """
        Raises:
            UserError: the task is none of the model's, or the tiling refuses the image.
        """
        if self.task not in self.tasks:
            raise UserError(
                f"the task is '{self.task}', the model's are {', '.join(self.tasks)}: export it with "
                "MODEL.IPT.TASK, or set runner.task.task"
            )
        pixels = [image.transpose(2, 0, 1).astype(np.float32)]
        if self.self_ensemble:
            (restored,) = self_ensemble(self._tiled, pixels, np.flip)
        else:
            (restored,) = self._tiled(pixels)
        if (image == image[..., :1]).all():
            restored = np.broadcast_to(restored.mean(0, keepdims=True), restored.shape)
        rounded = restored.clip(0, 255).round().astype(np.uint8)
        return Restored(np.ascontiguousarray(rounded.transpose(1, 2, 0)))

    def _tiled(self, images: list[np.ndarray]) -> list[np.ndarray]:
        graph = self.graphs[f"patches_{self.task}"]
        return restore_by_patches(
            lambda patches: graph(patches=np.stack(patches))["restored"],
            images,
            tiling=self.tiling,
            scale=self.tasks[self.task],
            patches_at_once=_AT_ONCE,
        )

"""Deformable DETR (Zhu et al., ICLR 2021): the detector that TrackFormer builds on, on images.

Shapes: B: images, Q: queries, K: classes, H×W: padded canvas.
"""

from typing import Any

import torch
from d2video.projects.detr.checks import check_config
from d2video.projects.detr.detr import DETR
from d2video.projects.detr.postprocess import Detections
from d2video.projects.trackformer.network.base import NetworkOutput
from d2video.projects.trackformer.network.build import deformable_network
from d2video.projects.trackformer.network.deformable_network import DeformableTrackingNetwork
from d2video.projects.trackformer.training.proposals import proposal_losses, proposal_targets
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor

from d2video.config.checks import layer_errors
from d2video.modeling.backbone import build_frame_backbone
from d2video.modeling.losses import Focal
from d2video.modeling.targets import ImageTargets
from d2video.utils.errors import UserError


@META_ARCH_REGISTRY.register()
class DeformableDETR(DETR):
    """:class:`DETR` with multi-scale deformable attention and independent class scores.

    Args:
        max_detections: answers to an image: the best pairs of a query and a class, so that a query may
            answer with several classes.
        detr: see :class:`DETR`.
    """

    network: DeformableTrackingNetwork
    class_loss = Focal()

    @configurable
    def __init__(self, *, max_detections: int = 100, **detr: Any):
        super().__init__(**detr)
        self.max_detections = max_detections

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        return super().from_config(cfg) | {"max_detections": cfg.TEST.DETECTIONS_PER_IMAGE}

    @classmethod
    def build_network(cls, cfg: CfgNode) -> DeformableTrackingNetwork:
        node = cfg.MODEL.DETR
        if cfg.MODEL.MASK_ON:
            raise UserError("MODEL.MASK_ON is True: DeformableDETR has no masks, set it to False")
        if node.DEFORMABLE_ENCODER.ENABLED:
            raise UserError(
                f"{cls.node}.DEFORMABLE_ENCODER.ENABLED is True: DeformableDETR's encoder, which "
                "DEFORMABLE describes, is one already, set it to False"
            )
        only = {"POSITIONS": "sine", "POSITIONS_AT": "attention", "QUERIES_AT": "attention"}
        for key, value in only.items():
            if node[key] != value:
                raise UserError(
                    f"{cls.node}.{key} is '{node[key]}': for DeformableDETR set {value}"
                )
        backbone = build_frame_backbone(cfg)
        check_config(cfg, list(backbone.output_shape()))
        with layer_errors(node, cls.node):
            return deformable_network(cfg, node, cls.node, backbone)

    def predict(
        self, images: Tensor, padding: Tensor | None, all_layers: bool = True
    ) -> NetworkOutput:
        features = self.network.features(images, padding)
        current = self.network.project(features)
        return self.network(features, current, [], None, all_layers)

    def losses(
        self, images: Tensor, padding: Tensor | None, targets: list[ImageTargets]
    ) -> dict[str, Tensor]:
        output = self.predict(images, padding)
        if output.proposals is None:
            return self.matched_losses(output, self.matcher(output, targets), targets)
        objects = proposal_targets(targets)
        batches = ((output, targets, None), (output.proposals, objects, None))
        matches, of_proposals = self.matcher.together(*batches)
        losses = self.matched_losses(output, matches, targets)
        return losses | proposal_losses(output.proposals, of_proposals, objects, self.criterion)

    def _kept(self, logits: Tensor) -> Detections:
        """The best pairs of a query and a class, from logits (Q, K)."""
        probabilities = self.class_probabilities(logits)
        count = min(self.max_detections, probabilities.numel())
        scores, places = probabilities.flatten().topk(count)
        queries = torch.div(places, probabilities.shape[1], rounding_mode="floor")
        kept = Detections(queries, scores, places % probabilities.shape[1])
        return kept[scores >= self.score_threshold]

"""The VisTR meta-architecture: detectron2-style inputs and outputs around the network.

Shapes: B: clips, T: frames, S: slots, K: classes, n: instances, H×W: padded canvas.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from d2video.projects.vistr.checks import check_config
from d2video.projects.vistr.matcher import FrameMatcher, InstanceSequenceMatcher
from d2video.projects.vistr.network import VisTRNetwork
from d2video.projects.vistr.tracks import ClipPrediction, TrackedFrame
from d2video.projects.vistr.video_inference import collect_video, frame_instances, track_video
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from torch import Tensor, nn

from d2video.config.checks import layer_errors
from d2video.config.set_prediction import (
    mask_arguments,
    model_arguments,
    network_arguments,
    rescoring,
)
from d2video.data.label_use import LabelUse
from d2video.inference.tasks import TrackingTask
from d2video.layers import NoPositionEncoding, SinePositionEncoding
from d2video.modeling.backbone import build_frame_backbone
from d2video.modeling.predictions import Predictions
from d2video.modeling.rescoring import Rescoring
from d2video.modeling.set_prediction import SetPredictionModel, answer_size
from d2video.modeling.targets import ClipTargets
from d2video.structures.answers import ImageAnswer, VideoInstances
from d2video.utils.errors import UserError
from d2video.utils.transfer import to_device


@META_ARCH_REGISTRY.register()
class VisTR(SetPredictionModel):
    """Video instance segmentation of whole clips; slot s of all frames is one instance.

    Training input, video input, image input and the answers are described in docs/extend/architecture.md.

    Args:
        network: with masks.
        matcher: instance sequence matching.
        label_offset: class logit of contiguous class 0.
        score_threshold: slots with a lower mean confidence are dropped before the mask branch.
        frame_threshold: frames of a track with a lower confidence show no mask.
        window_overlap: frames shared by two windows of a long video, in [1, T - 1].
        link_iou: least similarity at which two windows' slots are one track.
        rescoring: of the slots of a window, by their masks.
        video_batch: windows of a video that go through the network at once.
        shared: see :class:`SetPredictionModel`.
    """

    task = TrackingTask()
    node, queries_key = "MODEL.VISTR", "NUM_SLOTS"
    network: VisTRNetwork

    @configurable
    def __init__(
        self,
        *,
        network: VisTRNetwork,
        matcher: InstanceSequenceMatcher,
        label_offset: int = 0,
        score_threshold: float = 0.001,
        frame_threshold: float = 0.001,
        window_overlap: int = 6,
        link_iou: float = 0.3,
        rescoring: Rescoring | None = None,
        video_batch: int = 1,
        **shared: Any,
    ):
        super().__init__(network=network, **shared)
        if network.num_frames > 1 and not 1 <= window_overlap < network.num_frames:
            raise UserError(
                f"TEST.VIDEO.WINDOW_OVERLAP is {window_overlap}: with INPUT.CLIP.NUM_FRAMES "
                f"{network.num_frames} set it between 1 and {network.num_frames - 1}"
            )
        self.matcher = matcher
        self.label_offset = label_offset
        rows = range(label_offset, self.criterion.num_classes)
        self.class_head = replace(self.class_head, rows=rows)
        self.score_threshold = score_threshold
        self.frame_threshold = frame_threshold
        self.window_overlap = min(window_overlap, network.num_frames - 1)
        self.link_iou = link_iou
        self.rescoring = rescoring
        self.video_batch = video_batch

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        vistr = cfg.MODEL.VISTR
        backbone = build_frame_backbone(cfg)
        check_config(cfg, list(backbone.output_shape()))
        with layer_errors(vistr, cls.node):
            network = VisTRNetwork(
                backbone=backbone,
                in_features=vistr.IN_FEATURES,
                num_frames=cfg.INPUT.CLIP.NUM_FRAMES,
                num_slots=vistr.NUM_SLOTS,
                position_encoding=_positions(vistr),
                query_level=vistr.QUERY_LEVEL,
                conv3d_layers=vistr.CONV3D_LAYERS,
                mask_attention=vistr.MASK_ATTENTION,
                **mask_arguments(vistr),
                **network_arguments(vistr, cfg),
            )
        matching = FrameMatcher if vistr.MATCHING == "frame" else InstanceSequenceMatcher
        return model_arguments(vistr, cfg, giou_eps=1e-6) | {
            "network": network,
            "matcher": matching(
                vistr.COST_CLASS,
                vistr.COST_L1,
                vistr.COST_IOU,
                count_absent_frames=vistr.COST_ABSENT_FRAMES,
                official_presence=vistr.OFFICIAL_PRESENCE,
            ),
            "label_offset": vistr.LABEL_OFFSET,
            "score_threshold": vistr.SCORE_THRESH_TEST,
            "frame_threshold": vistr.FRAME_SCORE_THRESH_TEST,
            "window_overlap": cfg.TEST.VIDEO.WINDOW_OVERLAP,
            "link_iou": cfg.TEST.VIDEO.LINK_IOU,
            "rescoring": rescoring(vistr),
            "video_batch": cfg.TEST.VIDEO.BATCH,
        }

    @classmethod
    def label_use(cls, cfg: CfgNode) -> LabelUse:
        """Videos with masks, of which the tracks of masks are scored."""
        remedy = "train a model of boxes, such as TrackFormer"
        return LabelUse("videos", "videos", ("ytvis",), needs_masks=True, without_masks=remedy)

    def forward(
        self, batched_inputs: list[dict]
    ) -> dict[str, Tensor] | list[ImageAnswer | VideoInstances]:
        """
        Args:
            batched_inputs: clips (training), videos of any length or single images (inference).

        Returns:
            in training the weighted losses; otherwise one answer an input: tracks for a video,
            ``{"instances": Instances}`` for an image.
        """
        if self.training:
            return self._losses(batched_inputs)
        return [self._answer(item) for item in batched_inputs]

    # ---- training -------------------------------------------------------------------------------

    def _losses(self, batched_inputs: list[dict]) -> dict[str, Tensor]:
        frames, padding = self.batch([self._clip(item["image"]) for item in batched_inputs])
        targets = []
        for item in batched_inputs:
            classes = self.check_classes(item["instances"][0].gt_classes + self.label_offset)
            targets.append(ClipTargets.from_instances(item["instances"], classes))
        return self.losses(frames, padding, targets)

    def losses(
        self, frames: Tensor, padding: Tensor | None, targets: list[ClipTargets]
    ) -> dict[str, Tensor]:
        """Weighted losses of clips (B, T, 3, H, W), normalised, with padding (B, H, W) bool or None."""
        predictions: Predictions = self.network(frames, padding)
        matches = self.matcher(predictions, targets)
        return self.matched_losses(predictions, matches, [target.by_frame() for target in targets])

    # ---- inference ------------------------------------------------------------------------------

    def _clip(self, frames: list[Tensor]) -> Tensor:
        """T tensors (3, h, w) to (T, 3, h, w), on the model's device."""
        if len(frames) != self.network.num_frames:
            raise UserError(
                f"a clip has {len(frames)} frames, the model takes {self.network.num_frames}: "
                "sample clips of INPUT.CLIP.NUM_FRAMES"
            )
        return torch.stack([to_device(frame, self.device) for frame in frames])

    def predict_clip(self, frames: list[Tensor]) -> ClipPrediction:
        """As :meth:`predict_clips`, of one."""
        return self.predict_clips([frames])[0]

    @torch.no_grad()
    def predict_clips(self, clips: list[list[Tensor]]) -> list[ClipPrediction]:
        """The slots of clips of T uint8 frames (3, h, w) that pass ``score_threshold``.

        Clips are of one size and so without padding: the result of one depends on nothing else.
        """
        batch, padding = self.batch([self._clip(frames) for frames in clips])
        assert padding is None, "clips of several sizes"
        predictions: Predictions = self.network(batch, None, all_layers=False)
        # Which slots go on is decided in the host's memory.
        logits = predictions.logits[-1].cpu()
        probabilities = self.criterion.class_loss.probabilities(logits)
        probabilities = probabilities.unflatten(1, (self.network.num_frames, -1))
        wanted = probabilities.amax(-1).mean(1) >= self.score_threshold
        assert predictions.encoded is not None
        masks = self.network.masks(predictions.encoded, *wanted.nonzero(as_tuple=True))
        return [
            self._rescored(of_clip[:, slots], its_masks)
            for of_clip, slots, its_masks in zip(
                probabilities, wanted, masks.split(wanted.sum(1).tolist()), strict=True
            )
        ]

    def _rescored(self, probabilities: Tensor, masks: Tensor) -> ClipPrediction:
        """Of a clip's slots: probabilities (T, s, K) on the CPU and mask logits (s, T, h, w)."""
        if self.rescoring:
            factors = self.rescoring_factors(to_device(probabilities, masks.device), masks).cpu()
            kept = probabilities.amax(-1).mean(0) * factors >= self.score_threshold
            probabilities = (probabilities * factors[:, None])[:, kept]
            masks = masks[to_device(kept.nonzero()[:, 0], masks.device)]
        return ClipPrediction(probabilities.numpy(), masks)

    def rescoring_factors(self, probabilities: Tensor, masks: Tensor) -> Tensor:
        """(s,) of a clip's slots: probabilities (T, s, K) and mask logits (s, T, h, w)."""
        assert self.rescoring is not None
        mean = F.normalize(probabilities.mean(0), dim=-1)
        scores = probabilities.amax(-1).mean(0)
        return self.rescoring.factors(scores, masks, mean @ mean.t())

    def _tracked_frames(self, frames: Iterable[Tensor]) -> Iterator[TrackedFrame]:
        return track_video(
            frames,
            self.predict_clips,
            num_frames=self.network.num_frames,
            overlap=self.window_overlap,
            link_iou=self.link_iou,
            batch=self.video_batch,
        )

    def stream_video(
        self, frames: Iterable[Tensor], output_size: tuple[int, int]
    ) -> Iterator[Instances]:
        """Follow instances through a video of any length in bounded memory ("Streaming" in
        docs/extend/architecture.md). Answers come at most T frames late, or with a batch of windows as
        many frames as they have."""
        for frame in self._tracked_frames(frames):
            yield frame_instances(frame, output_size, self.frame_threshold, self.label_offset)

    def _answer(self, item: dict) -> ImageAnswer | VideoInstances:
        image = item["image"]
        if isinstance(image, Tensor):
            return {"instances": next(self.stream_video([image], answer_size(item)))}
        size = (item["height"], item["width"])
        return collect_video(
            self._tracked_frames(image), size, self.frame_threshold, self.label_offset
        )


def _positions(vistr: CfgNode) -> nn.Module:
    """The encoding of the tokens' positions that ``MODEL.VISTR`` describes."""
    if vistr.POSITIONS == "none":
        return NoPositionEncoding(vistr.HIDDEN_DIM)
    return SinePositionEncoding(
        vistr.HIDDEN_DIM,
        num_axes=3 if vistr.POSITIONS == "sine_3d" else 2,
        temperature=vistr.POSITION_TEMPERATURE,
        scale=2 * math.pi * vistr.POSITION_WAVES,
    )

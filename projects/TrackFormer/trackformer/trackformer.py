"""The TrackFormer meta-architecture: detectron2-style inputs and outputs around the network.

Shapes: B: images, n: track queries, Q: object queries, K: classes, C: width, D: decoder layers, H×W:
padded canvas.
"""

import copy
from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
from d2video.projects.detr.panoptic import unpad_masks
from d2video.projects.detr.postprocess import Detections, instances_of
from d2video.projects.trackformer.network.base import FrameFeatures, NetworkOutput, TrackingNetwork
from d2video.projects.trackformer.network.build import build_network
from d2video.projects.trackformer.official import OfficialTracker, OfficialTrackQuerySampler
from d2video.projects.trackformer.tracker.tracker import Tracker
from d2video.projects.trackformer.tracker.video_stream import VideoStream
from d2video.projects.trackformer.training.matcher import TrackMatcher
from d2video.projects.trackformer.training.targets import FrameTargets
from d2video.projects.trackformer.training.track_queries import TrackQuerySampler, no_object_weights
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from torch import Tensor, nn

from d2video.config.checks import check_class_logits
from d2video.config.set_prediction import loss_weights
from d2video.data import FrameSequence
from d2video.formats.rle import encode_masks
from d2video.modeling.criterion import Matches, SetCriterion, matching_metrics
from d2video.modeling.losses import CrossEntropy, Focal
from d2video.modeling.matched_masks import matched_target_masks, run_branch
from d2video.modeling.pixels import PixelNormalizer
from d2video.modeling.training_log import log_matching
from d2video.structures.answers import ImageAnswer, Tracks
from d2video.structures.boxes import box_xyxy_to_cxcywh
from d2video.structures.padding import pad_clips
from d2video.utils.errors import UserError


@META_ARCH_REGISTRY.register()
class TrackFormer(nn.Module):
    """Multi-object tracking, and segmentation, with track queries (Meinhardt et al., CVPR 2022).

    Args:
        network: see :class:`.network.TrackingNetwork`; with a mask branch the model has masks.
        criterion, matcher: the losses and what they rest on.
        sampler: makes track queries of the previous frame's, in training.
        tracker: its settings; each video is followed by a copy of it.
        pixel_mean, pixel_std: 3 values each, in the units of the input (0 to 255).
        aux_loss: supervise all decoder layers.
        false_positive_weight: of a track query without an object in a class loss that weighs
            queries without an object.
        backprop_previous: gradients flow through the track queries into the previous frame.
        freeze_detector: train the mask branch alone; all else neither learns nor drops out.
        prev_frame_distance: at inference, how many frames ago the previous frame is.
        score_threshold: detections of single images with a lower score are dropped.
        clip_boxes: cut detections of single images at the border.
        compile_model: torch.compile the backbone, the transformer's layers and the mask head.
    """

    network: TrackingNetwork

    @configurable
    def __init__(
        self,
        *,
        network: nn.Module,
        criterion: SetCriterion,
        matcher: TrackMatcher,
        sampler: TrackQuerySampler,
        tracker: Tracker,
        pixel_mean: list[float],
        pixel_std: list[float],
        aux_loss: bool = True,
        false_positive_weight: float = 1.0,
        backprop_previous: bool = False,
        freeze_detector: bool = False,
        prev_frame_distance: int = 1,
        score_threshold: float = 0.0,
        clip_boxes: bool = False,
        compile_model: bool = False,
    ):
        super().__init__()
        self.network = cast(TrackingNetwork, network)
        if freeze_detector and self.network.mask_branch is None:
            raise UserError("MODEL.TRACKFORMER.FREEZE_DETECTOR needs masks: set MODEL.MASK_ON True")
        self.criterion = criterion
        self.matcher = matcher
        self.sampler = sampler
        self._tracker = tracker
        self.normalize = PixelNormalizer(pixel_mean, pixel_std)
        self.aux_loss = aux_loss
        self.false_positive_weight = false_positive_weight
        self.backprop_previous = backprop_previous
        self.freeze_detector = freeze_detector
        self.prev_frame_distance = prev_frame_distance
        self.score_threshold = score_threshold
        self.clip_boxes = clip_boxes
        if compile_model:
            transformer: Any = network.transformer
            layers = [*transformer.encoder.layers, *transformer.decoder.layers]
            for part in [network.backbone, *layers]:
                part.compile()
            if self.network.mask_branch is not None:
                self.network.mask_branch.mask_head.compile()
        if freeze_detector:
            self.requires_grad_(False)
            assert self.network.mask_branch is not None
            self.network.mask_branch.requires_grad_(True)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        node = cfg.MODEL.TRACKFORMER
        tracker = OfficialTracker if node.TRACKER.OFFICIAL else Tracker
        sampler = OfficialTrackQuerySampler if node.OFFICIAL_SAMPLING else TrackQuerySampler
        class_loss = Focal() if node.FOCAL_LOSS else CrossEntropy(node.NO_OBJECT_WEIGHT)
        return {
            "network": build_network(cfg),
            "criterion": SetCriterion(
                node.NUM_CLASSES, weights=loss_weights(node), class_loss=class_loss
            ),
            "matcher": TrackMatcher(
                node.COST_CLASS, node.COST_L1, node.COST_GIOU, focal=node.FOCAL_LOSS
            ),
            "sampler": sampler(node.FALSE_NEGATIVE_PROB, node.FALSE_POSITIVE_PROB),
            "tracker": tracker.from_config(cfg),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "aux_loss": node.AUX_LOSS,
            "false_positive_weight": node.FALSE_POSITIVE_WEIGHT,
            "backprop_previous": node.BACKPROP_PREV_FRAME,
            "freeze_detector": node.FREEZE_DETECTOR,
            "prev_frame_distance": node.PREV_FRAME_DIST,
            "score_threshold": node.SCORE_THRESH_TEST,
            "clip_boxes": not node.OVERFLOW_BOXES,
            "compile_model": cfg.MODEL.COMPILE,
        }

    @property
    def device(self) -> torch.device:
        return self.normalize.device

    def new_stream(self, output_size: tuple[int, int]) -> VideoStream:
        """A stream for one video, with answers of ``output_size`` (H, W)."""
        tracker = copy.copy(self._tracker)
        tracker.reset()
        return VideoStream(
            self.network,
            tracker,
            normalize=self.normalize,
            best_classes=self.best_classes,
            frame_distance=self.prev_frame_distance,
            output_size=output_size,
        )

    def train(self, mode: bool = True) -> "TrackFormer":
        """A frozen detector stays in evaluation mode."""
        super().train(mode)
        if mode and self.freeze_detector:
            for name, part in self.network.named_children():  # type: ignore[attr-defined]
                part.train(name == "mask_branch")
        return self

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[ImageAnswer | Tracks]:
        """
        Args:
            batched_inputs: in training, of :class:`.frame_pair_mapper.FramePairMapper`: ``image``
                (3, h, w) uint8, ``instances`` with ``gt_boxes``, ``gt_classes``, ``gt_ids`` and, for
                a model with masks, ``gt_masks``, and ``previous``, a list of the same two, nearest
                first. At inference ``image`` is one image, or a video: a :class:`FrameSequence`,
                optionally with ``public_detections``, one tensor a frame; ``height`` and ``width``
                of the answer are those of the image if missing.

        Returns:
            in training the weighted losses; otherwise for an image ``{"instances": Instances}``, its
            detections, and for a video ``{"image_size": (H, W), "frames": [Instances]}``: see
            docs/architecture.md.
        """
        if self.training:
            return self._train_on(batched_inputs)
        with torch.no_grad():
            return [self._answer(item) for item in batched_inputs]

    # ---- training -------------------------------------------------------------------------------

    def _train_on(self, batched_inputs: list[dict]) -> dict[str, Tensor]:
        if any("previous" not in item for item in batched_inputs):
            raise UserError(
                "TrackFormer trains on pairs of frames: set INPUT.DATASET_MAPPER FramePairMapper"
            )
        # The earliest frame first.
        samples = [[*item["previous"][::-1], item] for item in batched_inputs]
        clips = [
            torch.stack([self.normalize(frame["image"]) for frame in sample]) for sample in samples
        ]
        canvas, padding = pad_clips(clips)
        same_size = all(clip.shape == clips[0].shape for clip in clips)
        targets = [
            [self._targets(sample[t]["instances"]) for sample in samples]
            for t in range(canvas.shape[1])
        ]
        return self.losses(list(canvas.unbind(1)), None if same_size else padding, targets)

    def _targets(self, instances: Instances) -> FrameTargets:
        height, width = instances.image_size
        scale = torch.tensor([width, height, width, height], dtype=torch.float32)
        classes = instances.gt_classes.to(self.device)
        check_class_logits(classes, self.criterion.num_classes, "MODEL.TRACKFORMER")
        masks = None
        if self.network.mask_branch is not None:
            masks = instances.gt_masks.tensor.to(self.device)
        boxes = box_xyxy_to_cxcywh(instances.gt_boxes.tensor / scale).to(self.device)
        return FrameTargets(classes, boxes, instances.gt_ids.to(self.device), masks)

    def losses(
        self, frames: list[Tensor], padding: Tensor | None, targets: list[list[FrameTargets]]
    ) -> dict[str, Tensor]:
        """The losses of the last frame, whose track queries come from the frames before it.

        Args:
            frames: (B, 3, H, W) each, normalised, the earliest first; two or three.
            padding: (B, H, W) bool of all frames, or None.
            targets: of each frame, B images.

        Returns:
            weighted losses by name.
        """
        network = self.network
        tracks = rows = None
        seen: list[FrameFeatures] = []  # features of earlier frames, the nearest first
        for index, images in enumerate(frames[:-1]):
            with torch.set_grad_enabled(self.backprop_previous and torch.is_grad_enabled()):
                features = network.features(images, padding)
                previous = [network.project(earlier) for earlier in seen]
                output = network(features, network.project(features), previous, tracks, False)
                tracks, rows = self.sampler(
                    output.embeddings,
                    output.boxes[-1],
                    self.matcher(output.logits, output.boxes, targets[index], rows),
                    targets[index],
                    targets[index + 1],
                    padding=self._query_padding(tracks, output),
                    # Only the frame that is trained on learns to drop them.
                    false_positives=index == len(frames) - 2,
                )
            seen.insert(0, features)

        features = network.features(frames[-1], padding)
        # Projected anew: the projection learns from the earlier frames, too.
        previous = [network.project(earlier) for earlier in seen[: network.num_previous]]
        output = network(features, network.project(features), previous, tracks, self.aux_loss)
        return self._frame_losses(output, targets[-1], rows, self._query_padding(tracks, output))

    def _query_padding(self, tracks, output: NetworkOutput) -> Tensor | None:
        """(B, N) bool, True where the network's row is no query."""
        if tracks is None or tracks.padding is None:
            return None
        objects = output.logits.shape[2] - tracks.padding.shape[1]
        return nn.functional.pad(tracks.padding, (0, objects))

    def _frame_losses(
        self,
        output: NetworkOutput,
        targets: list[FrameTargets],
        rows: Tensor | None,
        padding: Tensor | None,
    ) -> dict[str, Tensor]:
        matches = self.matcher(output.logits, output.boxes, targets, rows)
        classes = torch.cat([target.classes for target in targets])
        boxes = torch.cat([target.boxes for target in targets])
        weights = None
        if rows is not None:
            class_loss = self.criterion.class_loss
            false_positive = self.false_positive_weight if class_loss.weighted_mean else 1.0
            objects = output.logits.shape[2] - rows.shape[1]
            weights = no_object_weights(rows, objects, class_loss.no_object_weight, false_positive)
        losses, divisor = self.criterion(
            output.logits, output.boxes, matches, classes, boxes, len(classes), weights
        )
        last = matches.of_layer(len(output.logits) - 1)
        if output.encoded is not None:
            losses.update(self._mask_losses(output, targets, last, divisor))
        if output.proposals is not None:
            losses.update(self._proposal_losses(output.proposals, targets))
        if self.freeze_detector:  # the others have no gradient
            losses = {name: losses[name] for name in ("loss_mask", "loss_dice")}
        log_matching(
            *matching_metrics(output.logits[-1], last, classes, self.criterion.class_loss, padding)
        )
        return losses

    def _mask_losses(
        self, output: NetworkOutput, targets: list[FrameTargets], last: Matches, divisor: Tensor
    ) -> dict[str, Tensor]:
        branch, encoded = self.network.mask_branch, output.encoded
        assert branch is not None
        assert encoded is not None
        logits = run_branch(
            lambda images, queries: branch(encoded, images, queries), last.batch, last.query
        )
        masks = [target.masks for target in targets]
        sizes = [mask.shape[-2:] for mask in masks if mask is not None]
        canvas = (max(size[0] for size in sizes), max(size[1] for size in sizes))
        return self.criterion.mask_losses(
            logits, matched_target_masks(masks, last, canvas), divisor
        )

    def _proposal_losses(
        self, proposals: tuple[Tensor, Tensor], targets: list[FrameTargets]
    ) -> dict[str, Tensor]:
        """Of the first stage, which only tells objects from background: their class is 0."""
        logits, boxes = proposals[0][None], proposals[1][None]
        objects = [
            FrameTargets(torch.zeros_like(target.classes), target.boxes, target.ids)
            for target in targets
        ]
        matches = self.matcher(logits, boxes, objects)
        classes = torch.cat([target.classes for target in objects])
        found, _ = self.criterion(
            logits,
            boxes,
            matches,
            classes,
            torch.cat([target.boxes for target in objects]),
            len(classes),
        )
        return {f"{name}_enc": value for name, value in found.items()}

    # ---- inference ------------------------------------------------------------------------------

    def best_classes(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and classes (N,) of the best class, from logits (N, K), or (N, K + 1)."""
        scores, classes = self.criterion.class_loss.probabilities(logits).max(-1)
        return scores, classes

    @torch.no_grad()
    def stream_video(
        self, frames: Iterable[Tensor], output_size: tuple[int, int]
    ) -> Iterator[Instances]:
        """Follow the objects of one video; nothing is remembered of another.

        Args:
            frames: uint8 tensors (3, h, w), resized for the network.
            output_size: (H, W) of the masks and boxes.

        Yields:
            one answer a frame, before the next frame is taken: see :meth:`.tracker.Tracker.step`.
        """
        stream = self.new_stream(output_size)
        for frame in frames:
            yield stream.step(frame)

    def _answer(self, item: dict) -> ImageAnswer | Tracks:
        image = item["image"]
        if isinstance(image, Tensor):
            size = (int(image.shape[-2]), int(image.shape[-1]))
            return self._detect(image, (item.get("height", size[0]), item.get("width", size[1])))
        return self._follow(image, (item["height"], item["width"]), item.get("public_detections"))

    def _follow(
        self, video: FrameSequence, output_size: tuple[int, int], public: list | None
    ) -> Tracks:
        stream = self.new_stream(output_size)
        answers = []
        for index, frame in enumerate(video):
            detections = None if public is None else torch.as_tensor(public[index])
            found = stream.step(frame, detections)
            if found.has("pred_masks"):
                # Masks of a whole video do not fit into memory.
                masks = found.pred_masks
                found.remove("pred_masks")
                found.pred_rles = encode_masks(masks.cpu())
            answers.append(found)
        return {"image_size": output_size, "frames": answers}

    def _detect(self, image: Tensor, output_size: tuple[int, int]) -> ImageAnswer:
        """Detections in one image: object queries alone."""
        features = self.network.features(self.normalize(image[None]), None)
        current = self.network.project(features)
        output = self.network(features, current, [], None, all_layers=False)
        scores, classes = self.best_classes(output.logits[-1, 0])
        found_here = scores >= self.score_threshold
        tracked = self._tracker.tracked_classes
        if tracked is not None:  # the official models have more classes than the data
            found_here &= torch.isin(classes, torch.tensor(tracked, device=classes.device))
        rows = found_here.nonzero()[:, 0]
        masks = None
        if self.network.mask_branch is not None:
            assert output.encoded is not None
            size = (int(image.shape[-2]), int(image.shape[-1]))
            logits = image.new_zeros(0, *size, dtype=torch.float32)
            if len(rows):
                logits = self.network.mask_branch(output.encoded, torch.zeros_like(rows), rows)
            masks = unpad_masks(logits, size, size)
        found = instances_of(
            Detections(rows, scores[rows], classes[rows]), output.boxes[-1, 0], masks, output_size
        )
        if self.clip_boxes:
            found.pred_boxes.clip(output_size)
        return {"instances": found}

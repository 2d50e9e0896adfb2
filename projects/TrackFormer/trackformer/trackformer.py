"""The TrackFormer meta-architecture: detectron2-style inputs and outputs around the network.

Shapes: B: images, n: track queries, Q: object queries, K: classes, C: width, D: decoder layers, H×W:
padded canvas.
"""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from d2video.projects.detr.postprocess import Detections, instances_of, unpad_masks
from d2video.projects.trackformer.network.base import (
    FrameFeatures,
    NetworkOutput,
    TrackingNetwork,
    TrackQueries,
)
from d2video.projects.trackformer.network.build import build_network
from d2video.projects.trackformer.tracker.official import OfficialTracker
from d2video.projects.trackformer.tracker.tracker import Tracker
from d2video.projects.trackformer.tracker.video_stream import VideoStream, step_together
from d2video.projects.trackformer.training.official import OfficialTrackQuerySampler
from d2video.projects.trackformer.training.proposals import (
    dense_proposal_losses,
    link_losses,
    proposal_losses,
    proposal_targets,
)
from d2video.projects.trackformer.training.track_queries import (
    TrackQuerySampler,
    moved_on,
    no_object_weights,
)
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from torch import Tensor

from d2video.config.set_prediction import model_arguments
from d2video.data.label_use import LabelUse
from d2video.formats.geometry.rle import encode_masks
from d2video.inference.tasks import TrackingTask
from d2video.modeling.losses import Focal
from d2video.modeling.matcher import HungarianMatcher, MatchingCost, ToMatch
from d2video.modeling.set_prediction import SetPredictionModel, answer_size
from d2video.modeling.targets import ImageTargets
from d2video.structures.answers import ImageAnswer, Tracks
from d2video.utils.errors import UserError
from d2video.utils.transfer import to_device


@META_ARCH_REGISTRY.register()
class TrackFormer(SetPredictionModel):
    """Multi-object tracking, and segmentation, with track queries (Meinhardt et al., CVPR 2022).

    Args:
        network: with a mask branch the model has masks.
        matcher: of queries and objects.
        sampler: makes track queries of the previous frame's, in training.
        tracker: its settings; each video is followed by a copy of it.
        score_threshold: detections of single images with a lower score are dropped.
        clip_boxes: cut detections of single images at the border.
        track_links: the network has :class:`.two_stage.TrackLinks`.
        video_batch: videos that go through the network at once where several are open.
        shared: see :class:`SetPredictionModel`.
    """

    node = "MODEL.TRACKFORMER"
    network: TrackingNetwork

    task = TrackingTask()

    @configurable
    def __init__(
        self,
        *,
        network: TrackingNetwork,
        matcher: HungarianMatcher,
        sampler: TrackQuerySampler,
        tracker: Tracker,
        score_threshold: float = 0.0,
        clip_boxes: bool = False,
        track_links: bool = False,
        video_batch: int = 1,
        **shared: Any,
    ):
        super().__init__(network=network, **shared)
        self.matcher = matcher
        self.sampler = sampler
        self._tracker = tracker
        self.score_threshold = score_threshold
        self.clip_boxes = clip_boxes
        self.track_links = track_links
        self.video_batch = video_batch

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        node = cfg.MODEL.TRACKFORMER
        tracker = OfficialTracker if node.TRACKER.OFFICIAL else Tracker
        class_loss = Focal() if node.FOCAL_LOSS else None
        cost = MatchingCost(node.COST_CLASS, node.COST_L1, node.COST_GIOU, focal=node.FOCAL_LOSS)
        sampler = OfficialTrackQuerySampler if node.OFFICIAL_SAMPLING else TrackQuerySampler
        frozen = node.FREEZE_DETECTOR
        return model_arguments(node, cfg, class_loss=class_loss, freeze_detector=frozen) | {
            "network": build_network(cfg),
            "matcher": HungarianMatcher(cost),
            "sampler": sampler(node.FALSE_NEGATIVE_PROB, node.FALSE_POSITIVE_PROB),
            "tracker": tracker.from_config(cfg),
            "score_threshold": node.SCORE_THRESH_TEST,
            "clip_boxes": not node.OVERFLOW_BOXES,
            "track_links": node.TRACK_LINKS,
            "video_batch": cfg.TEST.VIDEO.BATCH,
        }

    @classmethod
    def label_use(cls, cfg: CfgNode) -> LabelUse:
        """Videos (and images), of which the tracks of boxes or masks are scored."""
        evaluator = "mots" if cfg.MODEL.MASK_ON else "mot"
        return LabelUse("both", "videos", (evaluator,), needs_masks=cfg.MODEL.MASK_ON)

    def new_stream(self, output_size: tuple[int, int]) -> VideoStream:
        """A stream for one video, with answers of ``output_size`` (H, W)."""
        tracker = copy.copy(self._tracker)
        tracker.reset()
        return VideoStream(self.network, tracker, self.normalize, self.best_classes, output_size)

    def step_together(self, streams: list[VideoStream], frames: list[Tensor]) -> list[Instances]:
        """See :class:`d2video.inference.side_by_side.SteppingModel`."""
        return step_together(streams, frames, [None] * len(streams))

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[ImageAnswer | Tracks]:
        """
        Args:
            batched_inputs: samples of :class:`.frame_pair_mapper.FramePairMapper`. At inference
                ``image`` is an image or a video, a :class:`FrameSequence`; ``height`` and ``width``
                of an image's answer are those of the image if missing.

        Returns:
            in training the weighted losses; otherwise detections for an image and tracks for a
            video (docs/extend/architecture.md).
        """
        if self.training:
            return self._train_on(batched_inputs)
        with torch.no_grad():
            return [self._answer(item) for item in batched_inputs]

    # ---- training -------------------------------------------------------------------------------

    def _train_on(self, batched_inputs: list[dict]) -> dict[str, Tensor]:
        return self.losses(*self.training_inputs(batched_inputs))

    def training_inputs(
        self, batched_inputs: list[dict]
    ) -> tuple[list[Tensor], Tensor | None, list[list[ImageTargets]], list[ImageTargets] | None]:
        """The arguments of :meth:`losses`, of samples of the mapper.

        Raises:
            UserError: a sample without previous frames, or of classes that the model lacks.
        """
        if any("previous" not in item for item in batched_inputs):
            raise UserError(
                "TrackFormer trains on pairs of frames: set INPUT.DATASET_MAPPER FramePairMapper"
            )
        # The earliest frame first.
        samples = [[*item["previous"][::-1], item] for item in batched_inputs]
        clips = [
            torch.stack([to_device(frame["image"], self.device) for frame in sample])
            for sample in samples
        ]
        canvas, padding = self.batch(clips)
        frames = zip(*[[frame["instances"] for frame in sample] for sample in samples])
        targets = [
            [self.image_targets(instances, instances.gt_classes) for instances in frame]
            for frame in frames
        ]
        before = None
        if self.track_links:
            instances = [item["previous"][-1]["earlier"] for item in batched_inputs]
            before = [self.image_targets(each, each.gt_classes) for each in instances]
        return list(canvas.unbind(1)), padding, targets, before

    def losses(
        self,
        frames: list[Tensor],
        padding: Tensor | None,
        targets: list[list[ImageTargets]],
        before: list[ImageTargets] | None = None,
    ) -> dict[str, Tensor]:
        """The losses of the last frame, whose track queries come from the frames before it.

        Args:
            frames: (B, 3, H, W) each, normalised, the earliest first; two or three.
            padding: (B, H, W) bool of all frames, or None.
            targets: of each frame, B images.
            before: of the frame before the first, for a network with track links.
        """
        output, _, rows = self.follow(frames, padding, targets, before)
        return self._frame_losses(output, targets[-1], rows)

    def follow(
        self,
        frames: list[Tensor],
        padding: Tensor | None,
        targets: list[list[ImageTargets]],
        before: list[ImageTargets] | None = None,
    ) -> tuple[NetworkOutput, TrackQueries | None, Tensor | None]:
        """What a training step makes of frames, the arguments of :meth:`losses`.

        Returns:
            the output for the last frame, its track queries, and the rows (B, n) int64 of their objects;
            see :class:`.track_queries.TrackQuerySampler`.
        """
        network = self.network
        tracks = rows = None
        seen: list[FrameFeatures] = []  # features of earlier frames, the nearest first
        for index, images in enumerate(frames[:-1]):
            with torch.no_grad():
                features = network.features(images, padding)
                previous = [network.project(earlier) for earlier in seen]
                output: NetworkOutput = network(
                    features, network.project(features), previous, tracks, all_layers=False
                )
                tracks, rows = self.sampler(
                    output.embeddings,
                    output.boxes[-1],
                    self.matcher(output, targets[index], rows),
                    targets[index],
                    targets[index + 1],
                    padding=output.query_padding,
                    # Only the frame that is trained on learns to drop them.
                    false_positives=index == len(frames) - 2,
                )
                if before is not None:
                    nearest = before if index == 0 else targets[index - 1]
                    tracks.boxes = moved_on(tracks.boxes, rows, nearest, targets[index + 1])
            seen.insert(0, features)

        features = network.features(frames[-1], padding)
        # Projected anew: the projection learns from the earlier frames, too.
        previous = [network.project(earlier) for earlier in seen[: network.num_previous]]
        return network(features, network.project(features), previous, tracks), tracks, rows

    def _frame_losses(
        self, output: NetworkOutput, targets: list[ImageTargets], rows: Tensor | None
    ) -> dict[str, Tensor]:
        batches: list[ToMatch] = [(output, targets, rows)]
        objects = proposal_targets(targets)
        if output.proposals is not None and output.centres is None:
            batches.append((output.proposals, objects, None))
        matches, *others = self.matcher.together(*batches)
        weights, num_known = None, 0
        if rows is not None:
            num_known = rows.shape[1]
            num_objects = output.logits.shape[2] - num_known
            weight = self.criterion.class_loss.no_object_weight
            weights = no_object_weights(rows, num_objects, weight)
        losses = self.matched_losses(
            output, matches, targets, weights, output.query_padding, num_known
        )
        if output.links is not None and rows is not None:
            losses |= link_losses(output.links, rows, targets)
        if output.proposals is not None and output.centres is not None:
            losses |= dense_proposal_losses(output.proposals, output.centres, targets)
        elif output.proposals is not None:
            losses |= proposal_losses(output.proposals, others[0], objects, self.criterion)
        return losses

    # ---- inference ------------------------------------------------------------------------------

    @torch.no_grad()
    def stream_video(
        self, frames: Iterable[Tensor], output_size: tuple[int, int]
    ) -> Iterator[Instances]:
        """Follow the objects of one video ("Streaming" in docs/extend/architecture.md).

        Yields:
            one answer a frame, before the next frame is taken: see :meth:`.video_stream.VideoStream.step`.
        """
        stream = self.new_stream(output_size)
        for frame in frames:
            yield stream.step(frame)

    def _answer(self, item: dict) -> ImageAnswer | Tracks:
        video = item["image"]
        if isinstance(video, Tensor):
            return self._detect(video, answer_size(item))
        output_size, public = (item["height"], item["width"]), item.get("public_detections")
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
        """Detections in one image: of the object queries only."""
        features = self.network.features(self.normalize(image[None]), None)
        current = self.network.project(features)
        output: NetworkOutput = self.network(features, current, [], None, all_layers=False)
        scores, classes = self.best_classes(output.last_on_host().logits[-1, 0])
        found_here = scores >= self.score_threshold
        tracked = self._tracker.tracked_classes
        if tracked is not None:  # the official models have more classes than the data
            found_here &= torch.isin(classes, torch.tensor(tracked))
        rows = found_here.nonzero()[:, 0]
        masks = None
        if output.masks is not None:
            size = (int(image.shape[-2]), int(image.shape[-1]))
            masks = unpad_masks(output.masks(torch.zeros_like(rows), rows), size, size)
        found = instances_of(
            Detections(rows, scores[rows], classes[rows]), output.boxes[-1, 0], masks, output_size
        )
        if self.clip_boxes:
            found.pred_boxes.clip(output_size)
        return {"instances": found}

"""The DETR meta-architecture: detectron2-style inputs and outputs around the network.

Shapes: B: images, Q: queries, K: classes, n: objects, H×W: padded canvas.
"""

from collections.abc import Iterable, Iterator
from functools import partial

import torch
from d2video.projects.detr.matcher import HungarianMatcher, ImageTargets
from d2video.projects.detr.network import DETRNetwork
from d2video.projects.detr.panoptic import panoptic_map, unpad_masks
from d2video.projects.detr.postprocess import Detections, best_classes, instances_of
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from torch import Tensor, nn

from d2video.config.checks import (
    check_class_count,
    check_class_logits,
    check_counts,
    check_in_features,
    layer_errors,
)
from d2video.config.set_prediction import build_transformer, loss_weights
from d2video.inference.tasks import DetectionTask
from d2video.layers import LearnedPositionEncoding, SinePositionEncoding
from d2video.modeling.backbone import build_frame_backbone
from d2video.modeling.criterion import SetCriterion, matching_metrics
from d2video.modeling.matched_masks import matched_target_masks, run_branch
from d2video.modeling.pixels import PixelNormalizer
from d2video.modeling.training_log import log_matching
from d2video.structures.answers import ImageAnswer
from d2video.structures.boxes import box_xyxy_to_cxcywh
from d2video.structures.padding import pad_clips
from d2video.utils.errors import UserError


@META_ARCH_REGISTRY.register()
class DETR(nn.Module):
    """Detection, instance masks and panoptic segmentation with a transformer.

    Args:
        network: see :class:`DETRNetwork`; with a mask branch the model has masks.
        criterion, matcher: the losses and what they rest on.
        pixel_mean, pixel_std: 3 values each, in the units of the input (0 to 255).
        class_logits: logit of each contiguous class of the data; class c has logit c if empty.
        aux_loss: supervise all decoder layers.
        freeze_detector: train the mask branch alone; all else neither learns nor drops out.
        score_threshold: detections with a lower score are dropped before the mask branch.
        num_things: with ``panoptic``, the first classes of the data, which are things.
        panoptic: answer with a panoptic map as well.
        panoptic_threshold: queries with a lower score take no part in the map.
        panoptic_min_area: segments of at most this many pixels are dropped from it.
        official_resize, official_merge: two defects of the official panoptic code: masks of the
            padded canvas squeezed into the image; see :func:`panoptic_map` for the other.
        compile_model: torch.compile the backbone, the transformer and the mask head.
    """

    task = DetectionTask()

    @configurable
    def __init__(
        self,
        *,
        network: DETRNetwork,
        criterion: SetCriterion,
        matcher: HungarianMatcher,
        pixel_mean: list[float],
        pixel_std: list[float],
        class_logits: list[int] | None = None,
        aux_loss: bool = True,
        freeze_detector: bool = False,
        score_threshold: float = 0.0,
        panoptic: bool = False,
        num_things: int = 0,
        panoptic_threshold: float = 0.85,
        panoptic_min_area: int = 4,
        official_resize: bool = False,
        official_merge: bool = False,
        compile_model: bool = False,
    ):
        super().__init__()
        if (panoptic or freeze_detector) and network.mask_branch is None:
            raise UserError(
                "MODEL.DETR.PANOPTIC.ENABLED and FREEZE_DETECTOR need masks: set MODEL.MASK_ON True"
            )
        self.network = network
        self.criterion = criterion
        self.matcher = matcher
        self.aux_loss = aux_loss
        self.freeze_detector = freeze_detector
        self.score_threshold = score_threshold
        self.panoptic = panoptic
        self.num_things = num_things
        self.panoptic_threshold = panoptic_threshold
        self.panoptic_min_area = panoptic_min_area
        self.official_resize = official_resize
        self.official_merge = official_merge
        self.normalize = PixelNormalizer(pixel_mean, pixel_std)
        self.class_logits: Tensor | None
        logits = torch.tensor(class_logits) if class_logits else None
        self.register_buffer("class_logits", logits, False)
        if compile_model:
            network.backbone.compile()
            network.transformer.compile()
            if network.mask_branch is not None:
                network.mask_branch.mask_head.compile()
        if freeze_detector:
            self.requires_grad_(False)
            assert network.mask_branch is not None
            network.mask_branch.requires_grad_(True)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        detr = cfg.MODEL.DETR
        backbone = build_frame_backbone(cfg)
        check_config(cfg, list(backbone.output_shape()))
        with layer_errors(detr, "MODEL.DETR"):
            if detr.POSITIONS == "learned":
                positions: nn.Module = LearnedPositionEncoding(detr.HIDDEN_DIM)
            else:
                positions = SinePositionEncoding(
                    detr.HIDDEN_DIM, num_axes=2, temperature=detr.POSITION_TEMPERATURE
                )
            network = DETRNetwork(
                backbone=backbone,
                in_features=detr.IN_FEATURES,
                transformer=build_transformer(detr, cfg),
                position_encoding=positions,
                num_queries=detr.NUM_QUERIES,
                num_classes=detr.NUM_CLASSES,
                mask_on=cfg.MODEL.MASK_ON,
                mask_width=detr.MASK_DIM or None,
                mask_positions=detr.MASK_POSITIONS,
                activation_checkpoint=cfg.MODEL.ACTIVATION_CHECKPOINT,
            )
        return {
            "network": network,
            "criterion": SetCriterion(
                detr.NUM_CLASSES,
                no_object_weight=detr.NO_OBJECT_WEIGHT,
                weights=loss_weights(detr),
            ),
            "matcher": HungarianMatcher(detr.COST_CLASS, detr.COST_L1, detr.COST_GIOU),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "class_logits": list(detr.CLASS_LOGITS),
            "aux_loss": detr.AUX_LOSS,
            "freeze_detector": detr.FREEZE_DETECTOR,
            "score_threshold": detr.SCORE_THRESH_TEST,
            "panoptic": detr.PANOPTIC.ENABLED,
            "num_things": detr.PANOPTIC.NUM_THINGS,
            "panoptic_threshold": detr.PANOPTIC.SCORE_THRESH,
            "panoptic_min_area": detr.PANOPTIC.MIN_AREA,
            "official_resize": detr.PANOPTIC.OFFICIAL_RESIZE,
            "official_merge": detr.PANOPTIC.OFFICIAL_MERGE,
            "compile_model": cfg.MODEL.COMPILE,
        }

    @property
    def device(self) -> torch.device:
        return self.normalize.device

    def train(self, mode: bool = True) -> "DETR":
        """A frozen detector stays in evaluation mode (in the official code its dropout goes on)."""
        super().train(mode)
        if mode and self.freeze_detector:
            for name, part in self.network.named_children():
                part.train(name == "mask_branch")
        return self

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[ImageAnswer]:
        """
        Args:
            batched_inputs: ``image`` (3, h, w) uint8 each; in training ``instances`` with
                ``gt_boxes``, ``gt_classes`` and, for a model with masks, ``gt_masks``; at inference
                ``height`` and ``width`` of the answer (those of ``image`` if missing).

        Returns:
            in training the weighted losses; otherwise for each image ``{"instances": Instances}``
            and, if ``panoptic``, ``"panoptic_seg"``: (id map (H_o, W_o) int32, segments), as in
            detectron2; ``category_id`` there is the contiguous class, things first, and the
            instances are things only.
        """
        images = [self.normalize(item["image"]) for item in batched_inputs]
        canvas, padding = pad_clips([image[None] for image in images])
        same_size = all(image.shape == images[0].shape for image in images)
        frames, mask = canvas[:, 0], None if same_size else padding
        if self.training:
            targets = [self._targets(item["instances"]) for item in batched_inputs]
            return self.losses(frames, mask, targets)
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        outputs = [
            (item.get("height", size[0]), item.get("width", size[1]))
            for item, size in zip(batched_inputs, sizes)
        ]
        with torch.no_grad():
            return self.predict(frames, mask, sizes, outputs)

    @torch.no_grad()
    def stream_video(
        self, frames: Iterable[Tensor], output_size: tuple[int, int]
    ) -> Iterator[ImageAnswer]:
        """Answer each frame by itself; nothing is tracked.

        Args:
            frames: uint8 tensors (3, h, w), resized for the network.
            output_size: (H, W) of the masks and boxes.

        Yields:
            one answer a frame, as :meth:`forward` gives it to an image.
        """
        for frame in frames:
            item = {"image": frame, "height": output_size[0], "width": output_size[1]}
            yield self([item])[0]

    # ---- training -------------------------------------------------------------------------------

    def _targets(self, instances: Instances) -> ImageTargets:
        height, width = instances.image_size
        scale = torch.tensor([width, height, width, height], dtype=torch.float32)
        classes = instances.gt_classes.to(self.device)
        if self.class_logits is not None:
            if len(classes) and int(classes.max()) >= len(self.class_logits):
                raise UserError(
                    f"an object has class {int(classes.max())}, MODEL.DETR.CLASS_LOGITS names "
                    f"{len(self.class_logits)}: list the logit of every class, or leave it empty"
                )
            classes = self.class_logits[classes]
        check_class_logits(classes, self.criterion.num_classes, "MODEL.DETR")
        masks = None
        if self.network.mask_branch is not None:
            masks = instances.gt_masks.tensor.to(self.device)
        boxes = box_xyxy_to_cxcywh(instances.gt_boxes.tensor / scale).to(self.device)
        return ImageTargets(classes, boxes, masks)

    def losses(
        self, images: Tensor, padding: Tensor | None, targets: list[ImageTargets]
    ) -> dict[str, Tensor]:
        """
        Args:
            images: (B, 3, H, W), normalised.
            padding: (B, H, W) bool or None.
            targets: B images; classes are logit indices.

        Returns:
            weighted losses by name.
        """
        logits, boxes, encoded = self.network(images, padding, all_layers=self.aux_loss)
        matches = self.matcher(logits, boxes, targets)
        classes = torch.cat([target.classes for target in targets])
        target_boxes = torch.cat([target.boxes for target in targets])
        losses, divisor = self.criterion(
            logits, boxes, matches, classes, target_boxes, len(classes)
        )
        last = matches.of_layer(len(logits) - 1)
        mask_branch = self.network.mask_branch
        if mask_branch is not None:
            masks = run_branch(partial(mask_branch, encoded), last.batch, last.query)
            canvas = (images.shape[-2], images.shape[-1])
            wanted = matched_target_masks([target.masks for target in targets], last, canvas)
            losses.update(self.criterion.mask_losses(masks, wanted, divisor))
        if self.freeze_detector:  # the others have no gradient
            losses = {name: losses[name] for name in ("loss_mask", "loss_dice")}
        log_matching(*matching_metrics(logits[-1], last, classes))
        return losses

    # ---- inference ------------------------------------------------------------------------------

    def predict(
        self,
        images: Tensor,
        padding: Tensor | None,
        sizes: list[tuple[int, int]],
        output_sizes: list[tuple[int, int]],
    ) -> list[ImageAnswer]:
        """
        Args:
            images: (B, 3, H, W), normalised.
            padding: (B, H, W) bool or None.
            sizes: (height, width) of each image on the canvas.
            output_sizes: (height, width) of each answer, in pixels.

        Returns:
            the answers, see :meth:`forward`.
        """
        logits, boxes, encoded = self.network(images, padding, all_layers=False)
        kept = [self._kept(image_logits) for image_logits in logits[-1]]
        masks: list[Tensor | None] = [None] * len(kept)
        if self.network.mask_branch is not None:
            # The branch runs once for the batch: what an image's queries share is computed once.
            counts = [len(detections.queries) for detections in kept]
            queries = torch.cat([detections.queries for detections in kept])
            index = torch.arange(len(kept), device=queries.device)
            index = index.repeat_interleave(torch.tensor(counts, device=queries.device))
            if len(queries):
                masks = [*self.network.mask_branch(encoded, index, queries).split(counts)]
            else:
                finest = encoded.laterals[-1]
                masks = [finest.new_zeros(0, *finest.shape[-2:]) for _ in kept]
        canvas = (images.shape[-2], images.shape[-1])
        return [
            self._answer(detections, image_boxes, image_masks, canvas, size, output_size)
            for detections, image_boxes, image_masks, size, output_size in zip(
                kept, boxes[-1], masks, sizes, output_sizes, strict=True
            )
        ]

    def _kept(self, logits: Tensor) -> Detections:
        """The queries of an image, logits (Q, K + 1), that any part of its answer needs."""
        scores, classes = best_classes(logits, self.class_logits)
        wanted = scores >= self.score_threshold
        if self.panoptic:
            wanted |= scores > self.panoptic_threshold
        return Detections(wanted.nonzero()[:, 0], scores[wanted], classes[wanted])

    def _answer(
        self,
        kept: Detections,
        boxes: Tensor,
        masks: Tensor | None,
        canvas: tuple[int, int],
        size: tuple[int, int],
        output_size: tuple[int, int],
    ) -> ImageAnswer:
        """The answer to one image of ``size`` on the canvas: boxes (Q, 4), masks (N, H_m, W_m)."""
        detected = kept.scores >= self.score_threshold
        if self.panoptic:  # as in detectron2: stuff is in the map alone
            detected &= kept.classes < self.num_things
        if masks is None:
            return {"instances": instances_of(kept[detected], boxes, None, output_size)}
        unpadded = unpad_masks(masks, canvas, size)
        found = instances_of(kept[detected], boxes, unpadded[detected], output_size)
        answer: ImageAnswer = {"instances": found}
        if self.panoptic:
            sure = kept.scores > self.panoptic_threshold
            if self.official_resize:
                unpadded = unpad_masks(masks, size, size)
            answer["panoptic_seg"] = panoptic_map(
                unpadded[sure],
                kept.classes[sure],
                kept.classes[sure] < self.num_things,
                output_size,
                min_area=self.panoptic_min_area,
                official_merge=self.official_merge,
            )
        return answer


def check_config(cfg: CfgNode, features: list[str]) -> None:
    """Check what no layer checks.

    Args:
        features: the names of the backbone's outputs.

    Raises:
        UserError: a count below 1, features that the backbone lacks, class logits out of range, or
            fewer classes than a training set has (of those sets that have been read already).
    """
    detr = cfg.MODEL.DETR
    counts = ("NUM_CLASSES", "NUM_QUERIES", "HIDDEN_DIM", "NUM_HEADS", "DEC_LAYERS")
    check_counts(detr, "MODEL.DETR", counts)
    if detr.POSITIONS not in ("sine", "learned"):
        raise UserError(f"MODEL.DETR.POSITIONS is '{detr.POSITIONS}': choose sine or learned")
    check_in_features(detr, "MODEL.DETR", features, least=2 if cfg.MODEL.MASK_ON else 1)
    logits = list(detr.CLASS_LOGITS)
    if len(set(logits)) < len(logits) or any(not 0 <= i < detr.NUM_CLASSES for i in logits):
        raise UserError(
            "MODEL.DETR.CLASS_LOGITS must name different logits from 0 to NUM_CLASSES - 1 "
            f"({detr.NUM_CLASSES - 1}), one a class of the data"
        )
    if logits:
        length = "the number of MODEL.DETR.CLASS_LOGITS"
        check_class_count(cfg.DATASETS.TRAIN, length, len(logits))
    else:
        check_class_count(cfg.DATASETS.TRAIN, "MODEL.DETR.NUM_CLASSES", detr.NUM_CLASSES)

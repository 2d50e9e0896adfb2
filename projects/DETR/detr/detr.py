"""The DETR meta-architecture: detectron2-style inputs and outputs around the network.

Shapes: B: images, Q: queries, K: classes, n: objects, H×W: padded canvas.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import torch
from d2video.projects.detr.checks import check_config
from d2video.projects.detr.linked_video import LinkedTask, LinkedVideo, collect_video
from d2video.projects.detr.linking import QueryLinker
from d2video.projects.detr.network import DETRNetwork
from d2video.projects.detr.panoptic import PanopticRules
from d2video.projects.detr.postprocess import (
    Detections,
    instances_of,
    rows_of,
    unpad_masks,
    without_overlap,
)
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from torch import Tensor, nn

from d2video.config.checks import layer_errors
from d2video.config.set_prediction import (
    mask_arguments,
    model_arguments,
    network_arguments,
    query_arguments,
    rescoring,
)
from d2video.data.label_use import LabelUse
from d2video.formats.geometry.rle import encode_masks
from d2video.inference.tasks import DetectionTask
from d2video.layers import (
    LearnedPositionEncoding,
    NoPositionEncoding,
    SinePositionEncoding,
)
from d2video.modeling.backbone import build_frame_backbone
from d2video.modeling.losses import ClassLoss
from d2video.modeling.matcher import HungarianMatcher, MatchingCost
from d2video.modeling.predictions import Predictions
from d2video.modeling.query_network import SetPredictionNetwork
from d2video.modeling.rescoring import Rescoring
from d2video.modeling.set_prediction import SetPredictionModel, answer_size
from d2video.modeling.targets import ImageTargets
from d2video.structures.answers import ImageAnswer
from d2video.structures.instances import on_host
from d2video.utils.batches import in_batches
from d2video.utils.errors import UserError
from d2video.utils.transfer import to_device


@META_ARCH_REGISTRY.register()
class DETR(SetPredictionModel):
    """Detection, instance masks and panoptic segmentation with a transformer.

    Args:
        network: with a mask branch the model has masks.
        matcher: of queries and objects.
        class_logits: logit of each contiguous class of the data; class c has logit c if empty.
        score_threshold: detections with a lower score are dropped before the mask branch.
        panoptic: add a panoptic map to the answers; needs masks.
        linker: follow objects through videos by it; each video gets a new one.
        rescoring: of an image's detections, by their masks.
        video_batch: frames of a video that go through the network at once.
        shared: see :class:`SetPredictionModel`.
    """

    task: DetectionTask = DetectionTask()
    node = "MODEL.DETR"
    video_keys: ClassVar[dict[str, Any]] = {"MODEL.DETR.LINK": True}
    network: SetPredictionNetwork
    # Of the classes; None: cross-entropy with "no object".
    class_loss: ClassLoss | None = None

    @configurable
    def __init__(
        self,
        *,
        network: SetPredictionNetwork,
        matcher: HungarianMatcher | None = None,
        class_logits: list[int] | None = None,
        score_threshold: float = 0.0,
        panoptic: PanopticRules | None = None,
        linker: QueryLinker | None = None,
        rescoring: Rescoring | None = None,
        video_batch: int = 1,
        **shared: Any,
    ):
        super().__init__(network=network, **shared)
        if panoptic and network.mask_branch is None:
            raise UserError("MODEL.DETR.PANOPTIC.ENABLED needs masks: set MODEL.MASK_ON True")
        if rescoring and network.mask_branch is None:
            raise UserError(
                "MODEL.DETR.MASK_SCORES and SOFT_NMS need masks: set MODEL.MASK_ON True, or these 0 and False"
            )
        self.matcher = matcher or HungarianMatcher()
        self.score_threshold = score_threshold
        self.panoptic = panoptic
        self.linker = linker
        self.rescoring = rescoring
        self.video_batch = video_batch
        if linker:
            self.task = LinkedTask()
        # In the host's memory, as the labels are.
        self.class_logits = torch.tensor(class_logits) if class_logits else None
        if class_logits:
            key = "the number of MODEL.DETR.CLASS_LOGITS"
            self.class_head = replace(self.class_head, rows=class_logits, key=key)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        detr = cfg.MODEL.DETR
        network = cls.build_network(cfg)
        panoptic = PanopticRules(
            detr.PANOPTIC.NUM_THINGS,
            detr.PANOPTIC.SCORE_THRESH,
            official_resize=detr.PANOPTIC.OFFICIAL_RESIZE,
            official_merge=detr.PANOPTIC.OFFICIAL_MERGE,
        )
        linker = QueryLinker(**{key.lower(): value for key, value in detr.LINKING.items()})
        frozen, focal = detr.FREEZE_DETECTOR, cls.class_loss is not None
        cost = MatchingCost(detr.COST_CLASS, detr.COST_L1, detr.COST_GIOU, focal=focal)
        return model_arguments(detr, cfg, class_loss=cls.class_loss, freeze_detector=frozen) | {
            "network": network,
            "matcher": HungarianMatcher(cost),
            "class_logits": list(detr.CLASS_LOGITS),
            "score_threshold": detr.SCORE_THRESH_TEST,
            "panoptic": panoptic if detr.PANOPTIC.ENABLED else None,
            "linker": linker if detr.LINK else None,
            "rescoring": rescoring(detr),
            "video_batch": cfg.TEST.VIDEO.BATCH,
        }

    @classmethod
    def label_use(cls, cfg: CfgNode) -> LabelUse:
        """Frames as images; with MODEL.DETR.LINK the tracks of videos are scored."""
        masks = cfg.MODEL.MASK_ON
        if not cfg.MODEL.DETR.LINK:
            return LabelUse("images", "images", ("coco",), needs_masks=masks)
        evaluators = ("ytvis", "mots") if masks else ("mot",)
        return LabelUse("images", "videos", evaluators, needs_masks=masks)

    @classmethod
    def build_network(cls, cfg: CfgNode) -> SetPredictionNetwork:
        """
        Raises:
            UserError: a value out of range, or values that do not go together.
        """
        detr = cfg.MODEL.DETR
        backbone = build_frame_backbone(cfg)
        check_config(cfg, list(backbone.output_shape()))
        with layer_errors(detr, cls.node):
            return DETRNetwork(
                backbone=backbone,
                in_features=detr.IN_FEATURES,
                position_encoding=_positions(detr),
                positions_at=detr.POSITIONS_AT,
                num_queries=detr.NUM_QUERIES,
                queries_at=detr.QUERIES_AT,
                mask_on=cfg.MODEL.MASK_ON,
                **query_arguments(detr),
                **mask_arguments(detr),
                **network_arguments(detr, cfg),
            )

    def predict(
        self, images: Tensor, padding: Tensor | None, all_layers: bool = True
    ) -> Predictions:
        """The network's predictions of images (B, 3, H, W), normalised; see :class:`DETRNetwork`."""
        return self.network(images, padding, all_layers)

    def forward(
        self, batched_inputs: list[dict]
    ) -> dict[str, Tensor] | list[ImageAnswer] | list[LinkedVideo]:
        """
        Args:
            batched_inputs: samples of :class:`~d2video.data.ImageDatasetMapper`; at inference
                ``height`` and ``width`` of the answer are those of ``image`` if missing. With a
                linker ``image`` may be the frames of a video, of all inputs.

        Returns:
            in training the weighted losses; otherwise for each image ``{"instances": Instances}``
            and, if ``panoptic``, ``"panoptic_seg"``: (id map (H_o, W_o) int32, segments), as in
            detectron2; ``category_id`` there is the contiguous class, things first, and the
            instances are things only. For a video its tracks.

        Raises:
            UserError: a video, and no linker.
        """
        if any(not isinstance(item["image"], Tensor) for item in batched_inputs):
            return [self._follow(item) for item in batched_inputs]
        canvas, padding = self.batch([item["image"][None] for item in batched_inputs])
        images = canvas[:, 0]
        if self.training:
            targets = [self._targets(item["instances"]) for item in batched_inputs]
            return self.losses(images, padding, targets)
        with torch.no_grad():
            return list(self._answers(images, padding, batched_inputs))

    @torch.no_grad()
    def stream_video(
        self, frames: Iterable[Tensor], output_size: tuple[int, int]
    ) -> Iterator[ImageAnswer]:
        """Answer the frames of a video (docs/extend/architecture.md), ``video_batch`` of them before
        the next ones are taken: each by itself, as :meth:`forward` does, or, with a linker, with those
        instances that have a track. They have ``track_ids``, their masks do not overlap, and so have
        the panoptic map's segments a ``track_id``."""
        linker = self.linker.new() if self.linker else None
        height, width = output_size
        for batch in in_batches(frames, self.video_batch):
            items = [{"image": frame, "height": height, "width": width} for frame in batch]
            canvas, padding = self.batch([frame[None] for frame in batch])
            yield from self._answers(canvas[:, 0], padding, items, linker)

    # ---- training -------------------------------------------------------------------------------

    def _targets(self, instances: Instances) -> ImageTargets:
        classes = instances.gt_classes
        if self.class_logits is not None:
            if len(classes) and int(classes.max()) >= len(self.class_logits):
                raise UserError(
                    f"an object has class {int(classes.max())}, MODEL.DETR.CLASS_LOGITS names "
                    f"{len(self.class_logits)}: list the logit of every class, or leave it empty"
                )
            classes = self.class_logits[classes]
        return self.image_targets(instances, classes)

    def losses(
        self, images: Tensor, padding: Tensor | None, targets: list[ImageTargets]
    ) -> dict[str, Tensor]:
        """Weighted losses of images (B, 3, H, W), normalised, with padding (B, H, W) bool or None."""
        predictions = self.predict(images, padding)
        groups = predictions.groups
        if groups is None:
            return self.matched_losses(predictions, self.matcher(predictions, targets), targets)
        # Each group as a further image with the same objects.
        count = groups.logits.shape[1] // len(targets)
        repeated = [target for target in targets for _ in range(count)]
        batches = ((predictions, targets, None), (groups, repeated, None))
        matches, of_groups = self.matcher.together(*batches)
        losses = self.matched_losses(predictions, matches, targets)
        found = self.criterion(groups, of_groups, repeated)
        return losses | {f"{name}_group": loss for name, loss in found.items()}

    # ---- inference ------------------------------------------------------------------------------

    def class_probabilities(self, logits: Tensor) -> Tensor:
        """Of the contiguous classes, (Q, K), from logits (Q, K + 1), wherever these are."""
        probabilities = self.criterion.class_loss.probabilities(logits)
        if self.class_logits is not None:
            probabilities = probabilities[:, to_device(self.class_logits, logits.device)]
        return probabilities

    def best_classes(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and contiguous classes (Q,) of the best class, from logits (Q, K + 1)."""
        scores, classes = self.class_probabilities(logits).max(-1)
        return scores, classes

    def _answers(
        self,
        images: Tensor,
        padding: Tensor | None,
        samples: list[dict],
        linker: QueryLinker | None = None,
    ) -> Iterator[ImageAnswer]:
        """The answers to images, or to the next frames of a video with its linker; each is made when it is
        asked for, since its masks are as large as the answer."""
        predictions = self.predict(images, padding, all_layers=False)
        # Which queries answer is decided in the host's memory.
        found = predictions.last_on_host()
        if linker is None:
            kept = [self._kept(logits) for logits in found.logits[-1]]
        else:
            kept = [self._linked(found, image, linker) for image in range(len(samples))]
        masks: list[Tensor | None] = [None] * len(kept)
        if predictions.masks is not None:
            # The branch runs once for the batch: what an image's queries share is computed once.
            counts = [len(detections.queries) for detections in kept]
            queries = torch.cat([detections.queries for detections in kept])
            index = torch.arange(len(kept)).repeat_interleave(torch.tensor(counts))
            masks = [*predictions.masks(index, queries).split(counts)]
        canvas = (images.shape[-2], images.shape[-1])
        for image in zip(samples, kept, predictions.boxes[-1], masks, strict=True):
            yield self._answer(*image, canvas)

    def _kept(self, logits: Tensor) -> Detections:
        """The queries of an image, logits (Q, K + 1), that any part of its answer needs; all on the CPU."""
        scores, classes = self.best_classes(logits)
        wanted = scores >= self.score_threshold
        if self.panoptic:
            wanted |= scores > self.panoptic.score_threshold
        return Detections(wanted.nonzero()[:, 0], scores[wanted], classes[wanted])

    def followed(
        self, predictions: Predictions, image: int = 0
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What :meth:`.QueryLinker.step` takes, of a frame of the batch; stuff is not followed."""
        assert predictions.embeddings is not None
        probabilities = self.class_probabilities(predictions.logits[-1, image])
        scores, classes = probabilities.max(-1)
        scores = scores.masked_fill(scores < self.score_threshold, -1)
        if self.panoptic:
            probabilities = probabilities[:, : self.panoptic.num_things]
            scores = scores.masked_fill(classes >= self.panoptic.num_things, -1)
        return scores, probabilities, predictions.boxes[-1, image], predictions.embeddings[image]

    def _linked(self, predictions: Predictions, image: int, linker: QueryLinker) -> Detections:
        """The queries of a frame that show tracks or that the panoptic map needs; all on the CPU."""
        links = linker.step(*self.followed(predictions, image))
        scores, classes = self.best_classes(predictions.logits[-1, image])
        track_ids = torch.full_like(classes, -1)
        track_ids[links.queries] = links.track_ids
        classes[links.queries] = links.classes
        wanted = track_ids >= 0
        if self.panoptic:
            wanted |= scores > self.panoptic.score_threshold
        rows = wanted.nonzero()[:, 0]
        return Detections(rows, scores[rows], classes[rows], track_ids[rows])

    def _follow(self, item: dict) -> LinkedVideo:
        """The answer to a video: ``image`` is its frames, (3, H, W) each."""
        if self.linker is None:
            raise UserError(
                f"{type(self).__name__} answers images, and this is a video: set {self.node}.LINK True "
                "to follow its objects"
            )
        size, frames = (item["height"], item["width"]), []
        for answer in self.stream_video(item["image"], size):
            found = answer["instances"]
            if found.has("pred_masks"):
                # Masks of a whole video do not fit into memory.
                masks = found.pred_masks
                found.remove("pred_masks")
                found.pred_rles = encode_masks(masks.cpu())
            frames.append(on_host(found))
        return collect_video(frames, size)

    def _answer(
        self,
        sample: dict,
        kept: Detections,
        boxes: Tensor,
        masks: Tensor | None,
        canvas: tuple[int, int],
    ) -> ImageAnswer:
        """The answer to one image on the canvas: boxes (Q, 4), masks (N, H_m, W_m)."""
        size = (sample["image"].shape[-2], sample["image"].shape[-1])
        output_size = answer_size(sample)
        if self.rescoring and masks is not None:
            same = to_device((kept.classes[:, None] == kept.classes).float(), masks.device)
            scores = to_device(kept.scores, masks.device)
            # As the mask branch leaves them, but for the padding.
            rows, columns = (
                math.ceil(part * cells / whole)
                for part, cells, whole in zip(size, masks.shape[-2:], canvas, strict=True)
            )
            factors = self.rescoring.factors(scores, masks[:, None, :rows, :columns], same)
            kept = replace(kept, scores=kept.scores * factors.cpu())
        detected = kept.scores >= self.score_threshold
        if kept.track_ids is not None:
            detected = kept.track_ids >= 0
        if self.panoptic:  # as in detectron2: stuff is in the map only
            detected &= kept.classes < self.panoptic.num_things
        unpadded = None if masks is None else unpad_masks(rows_of(masks, detected), canvas, size)
        if unpadded is not None and kept.track_ids is not None:
            unpadded = without_overlap(unpadded)
        found = instances_of(kept[detected], boxes, unpadded, output_size)
        answer: ImageAnswer = {"instances": found}
        if self.panoptic:
            assert masks is not None
            answer["panoptic_seg"] = self.panoptic.make_map(kept, masks, canvas, size, output_size)
        return answer


def _positions(detr: CfgNode) -> nn.Module:
    """The encoding of the tokens' positions that ``MODEL.DETR`` describes."""
    if detr.POSITIONS == "sine":
        return SinePositionEncoding(
            detr.HIDDEN_DIM, num_axes=2, temperature=detr.POSITION_TEMPERATURE
        )
    kinds = {"learned": LearnedPositionEncoding, "none": NoPositionEncoding}
    return kinds[detr.POSITIONS](detr.HIDDEN_DIM)

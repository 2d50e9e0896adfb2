"""The VTN meta-architecture: detectron2-style inputs and outputs around the network.

Shapes: B: clips, T: frames of a clip, F: frames of a view, C: width of the backbone, D: of the
temporal encoder, K: classes, h×w: a frame.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from d2video.projects.vtn import official
from d2video.projects.vtn.frame_encoder import FrameEncoder
from d2video.projects.vtn.temporal_encoder import TemporalEncoder
from d2video.projects.vtn.time_reversal import add_reversed_clips, check_reversed_classes
from d2video.projects.vtn.video_stream import VideoStream
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from d2video.config.checks import check_counts
from d2video.config.precision import inference_precision
from d2video.inference.tasks import ClassificationTask
from d2video.modeling.acceleration import accelerate
from d2video.modeling.backbone import build_frame_backbone
from d2video.modeling.pixels import PixelNormalizer
from d2video.structures import ClassHead
from d2video.structures.answers import ScoresAnswer, VideoScores
from d2video.utils.errors import UserError
from d2video.utils.transfer import to_device

_NODE = "MODEL.VTN"


@META_ARCH_REGISTRY.register()
class VTN(nn.Module):
    """Video Transformer Network: a backbone for each frame, attention over time, one class a video.

    Inputs and answers are described in docs/extend/architecture.md (video classification). Where an input
    has ``features`` (F, C) in place of frames, extracted beforehand, the backbone is not used.

    Args:
        backbone: of detectron2; the mean over space of its last output is a frame's feature.
        temporal_encoder: of width D.
        num_classes: K.
        pixel_mean, pixel_std: 3 values each, in the units of the input (0 to 255).
        mlp_dim: hidden width of the head.
        head_dropout: probability before its last layer.
        freeze_backbone: train all but the backbone.
        reversed_classes: train also on the reversal of each clip: of each class, the class of its
            videos played backwards, or -1 (:mod:`.time_reversal`). Empty: do not.
        sum_logits: several views: softmax of the sum of their logits (official) instead of the mean
            of their probabilities.
        stream_interval, stream_stride, stream_max_frames: see
            :class:`~d2video.projects.vtn.video_stream.VideoStream`.
        stream_crop: side of the square that is cut from the middle of frames in ``stream_video``, as
            the mapper does for testing; 0: none.
        video_batch: see :class:`~d2video.projects.vtn.video_stream.VideoStream`.
        compile_model, precision: of the backbone and the temporal encoder; see
            :func:`~d2video.modeling.acceleration.accelerate`.
    """

    task = ClassificationTask()

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        temporal_encoder: TemporalEncoder,
        num_classes: int,
        pixel_mean: list[float],
        pixel_std: list[float],
        mlp_dim: int = 768,
        head_dropout: float = 0.5,
        freeze_backbone: bool = False,
        reversed_classes: Sequence[int] = (),
        sum_logits: bool = False,
        stream_interval: int = 8,
        stream_stride: int = 1,
        stream_max_frames: int = 256,
        stream_crop: int = 0,
        video_batch: int = 1,
        compile_model: bool = False,
        precision: torch.dtype | None = None,
    ):
        super().__init__()
        normalizer = PixelNormalizer(pixel_mean, pixel_std)
        self.frame_encoder = FrameEncoder(backbone, normalizer, frozen=freeze_backbone)
        width = temporal_encoder.cls_token.shape[-1]
        self.projection: nn.Module = nn.Identity()
        if self.frame_encoder.width != width:
            self.projection = nn.Linear(self.frame_encoder.width, width)
        self.temporal_encoder = temporal_encoder
        self.head = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, mlp_dim),
            nn.GELU(),
            nn.Dropout(head_dropout),
            nn.Linear(mlp_dim, num_classes),
        )
        self.num_classes = num_classes
        check_reversed_classes(reversed_classes, num_classes)
        self.reversed_classes = tuple(reversed_classes)
        self.class_head = ClassHead(("head.4.",), range(num_classes), f"{_NODE}.NUM_CLASSES")
        self.combine = official.sum_logits if sum_logits else mean_probability
        self.stream_options = {
            "interval": stream_interval,
            "stride": stream_stride,
            "max_frames": stream_max_frames,
            "crop": stream_crop,
            "batch": video_batch,
        }
        parts = [backbone, temporal_encoder]
        accelerate(self, parts, compile_model=compile_model, precision=precision)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        node = cfg.MODEL.VTN
        check_config(cfg)
        return {
            "backbone": build_frame_backbone(cfg),
            "temporal_encoder": TemporalEncoder(
                hidden_dim=node.HIDDEN_DIM,
                num_heads=node.NUM_HEADS,
                num_layers=node.NUM_LAYERS,
                dim_feedforward=node.DIM_FEEDFORWARD,
                window=node.WINDOW,
                max_positions=node.MAX_POSITIONS,
                dropout=node.DROPOUT,
                positions=node.POSITIONS,
                position_rule=node.POSITION_RULE,
                mask_repeats=node.MASK_REPEATS,
                init_std=node.INIT_STD,
                init_std_embeddings=node.INIT_STD_EMBEDDINGS,
            ),
            "num_classes": node.NUM_CLASSES,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "mlp_dim": node.MLP_DIM,
            "head_dropout": node.HEAD_DROPOUT,
            "freeze_backbone": node.FREEZE_BACKBONE,
            "reversed_classes": node.REVERSED_CLASSES,
            "sum_logits": node.SUM_LOGITS,
            "stream_interval": node.STREAM_INTERVAL,
            "stream_stride": node.STREAM_STRIDE,
            "stream_max_frames": node.STREAM_MAX_FRAMES,
            "stream_crop": cfg.INPUT.CLASSIFICATION.CROP_SIZE_TEST,
            "video_batch": cfg.TEST.VIDEO.BATCH,
            "compile_model": cfg.MODEL.COMPILE,
            "precision": inference_precision(cfg),
        }

    @property
    def device(self) -> torch.device:
        return self.frame_encoder.normalize.device

    def classify(
        self, features: Tensor, frame_index: Tensor, padding: Tensor | None = None
    ) -> Tensor:
        """From the backbone's features to class logits.

        Args:
            features: (B, F, C), on any device, of any floating type.
            frame_index: (B, F) int64.
            padding: (B, F) bool, True = no frame, or None.

        Returns:
            (B, K).
        """
        tokens = self.projection(to_device(features, self.device).float())
        if padding is not None:
            padding = to_device(padding, self.device)
        index = to_device(frame_index, self.device)
        return self.head(self.temporal_encoder(tokens, index, padding))

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[VideoScores]:
        """
        Args:
            batched_inputs: clips, of the same or different lengths (training), or videos (inference).

        Returns:
            in training ``{"loss_cls": ...}``; otherwise, for each video, ``scores``: (K,) float32
            probabilities on the CPU, and ``video_id`` where the input has one.
        """
        if self.training:
            return self._losses(batched_inputs)
        return [self._answer(item) for item in batched_inputs]

    # ---- training -------------------------------------------------------------------------------

    def _losses(self, batched_inputs: list[dict]) -> dict[str, Tensor]:
        labels = self._labels(batched_inputs)
        features = self._clip_features(batched_inputs)
        numbers = [item["frame_index"] for item in batched_inputs]
        if self.reversed_classes:
            features, numbers, labels = add_reversed_clips(
                features, numbers, labels, self.reversed_classes
            )
        labels = to_device(labels, self.device)
        lengths = torch.tensor([len(clip) for clip in features])
        index = pad_sequence(numbers, batch_first=True)
        padding = torch.arange(index.shape[1]) >= lengths[:, None]
        logits = self.classify(
            pad_sequence(features, batch_first=True), index, padding if padding.any() else None
        ).float()
        top1 = (logits.detach().argmax(-1) == labels).float().mean()
        get_event_storage().put_scalar("top1_accuracy", 100 * top1.item())
        return {"loss_cls": F.cross_entropy(logits, labels)}

    def _labels(self, batched_inputs: list[dict]) -> Tensor:
        """(B,) int64, on the CPU."""
        labels = torch.tensor([item["label"] for item in batched_inputs])
        wrong = labels[(labels >= self.num_classes) | (labels < 0)].tolist()
        if wrong:
            raise UserError(
                f"a video has label {wrong[0]}, the model's classes are 0 to {self.num_classes - 1}: "
                f"set {_NODE}.NUM_CLASSES to the number of classes"
            )
        return labels

    def _clip_features(self, batched_inputs: list[dict]) -> list[Tensor]:
        """B tensors (T, C), of frames that go through the backbone together."""
        if "features" in batched_inputs[0]:
            if not self.frame_encoder.frozen:
                raise UserError(
                    "training on features extracted beforehand leaves the backbone as it is: set "
                    f"{_NODE}.FREEZE_BACKBONE True"
                )
            features = [self._checked_features(item) for item in batched_inputs]
            return [to_device(each, self.device) for each in features]
        clips = [item["image"] for item in batched_inputs]
        if len({clip.shape[1:] for clip in clips}) > 1:
            sizes = ", ".join(sorted({f"{clip.shape[3]}x{clip.shape[2]}" for clip in clips}))
            raise UserError(
                f"the clips of a batch have different sizes ({sizes}): crop them to one size"
            )
        frames = torch.cat([to_device(clip, self.device) for clip in clips])
        return list(self.frame_encoder(frames).split([len(clip) for clip in clips]))

    def _checked_features(self, item: dict) -> Tensor:
        """(F, C), extracted beforehand."""
        features, source = item["features"], item.get("feature_file", "features")
        if features.dim() != 2 or features.shape[1] != self.frame_encoder.width:
            raise UserError(
                f"{source} has shape {tuple(features.shape)}, but the backbone gives "
                f"{self.frame_encoder.width} numbers a frame; extract them with the backbone of this "
                "config"
            )
        made_by = item.get("backbone")
        if made_by is not None and made_by != self.frame_encoder.fingerprint():
            raise UserError(
                f"{source} comes from another backbone than this model's: set MODEL.WEIGHTS to the "
                "checkpoint that extracted the features, or extract them again"
            )
        return features.float()

    # ---- inference ------------------------------------------------------------------------------

    @torch.no_grad()
    def _answer(self, item: dict) -> VideoScores:
        views = item.get("views", [item])
        # Views go one by one: they may differ in length, and the frames are what takes time.
        logits = torch.cat([self._view_logits(view) for view in views]).float()
        answer: VideoScores = {"scores": self.combine(logits).cpu()}
        if "video_id" in item:
            answer["video_id"] = item["video_id"]
        return answer

    def _view_logits(self, view: dict) -> Tensor:
        """(1, K)."""
        index = view["frame_index"]
        if "features" in view:
            features = self._checked_features(view)
        else:
            features = self.frame_encoder.encode_video(view["image"], index)
        return self.classify(features[None], index[None])

    @torch.no_grad()
    def encode_frames(self, frames: list[Tensor], numbers: list[int]) -> Tensor:
        """Frames (3, h, w) and their numbers in the video to features (F, C)."""
        return self.frame_encoder.encode_video(frames, torch.tensor(numbers))

    @torch.no_grad()
    def video_scores(self, features: list[Tensor], numbers: list[int]) -> Tensor:
        """Features (C,) of frames and their numbers to float32 probabilities (K,) on the CPU."""
        logits = self.classify(torch.stack(features)[None], torch.tensor(numbers)[None])
        return logits[0].float().softmax(-1).cpu()

    def stream_video(
        self, frames: Iterator[Tensor], output_size: tuple[int, int]
    ) -> Iterator[ScoresAnswer]:
        """Classify what has been seen of a video, frame by frame, in bounded memory.

        Args:
            frames: uint8 tensors (3, h, w), resized for the network.
            output_size: not used.

        Yields:
            for each frame ``class_scores``: (K,) float32 probabilities on the CPU; see
            :class:`~d2video.projects.vtn.video_stream.VideoStream`.
        """
        stream = VideoStream(self.encode_frames, self.video_scores, **self.stream_options)
        for scores in stream.follow(frames):
            yield {"class_scores": scores}


def mean_probability(logits: Tensor) -> Tensor:
    """Scores (K,) of a video from the logits (V, K) of its views."""
    return logits.softmax(-1).mean(0)


def check_config(cfg: CfgNode) -> None:
    """Check what no layer checks.

    Raises:
        UserError: a value out of range.
    """
    node = cfg.MODEL.VTN
    counts = ("NUM_CLASSES", "HIDDEN_DIM", "DIM_FEEDFORWARD", "MLP_DIM")
    check_counts(node, _NODE, (*counts, "STREAM_INTERVAL", "STREAM_STRIDE"))
    if node.STREAM_MAX_FRAMES < 2:
        raise UserError(f"{_NODE}.STREAM_MAX_FRAMES is {node.STREAM_MAX_FRAMES}: set 2 or more")
    for key in ("INIT_STD", "INIT_STD_EMBEDDINGS"):
        if not 0 < node[key] < math.inf:
            raise UserError(f"{_NODE}.{key} is {node[key]}: set a number above 0")
    for key in ("DROPOUT", "HEAD_DROPOUT"):
        if not 0 <= node[key] < 1:
            raise UserError(f"{_NODE}.{key} is {node[key]}: set a probability, 0 or more, below 1")

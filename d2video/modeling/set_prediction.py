"""The base of the meta-architectures that predict a set: DETR, VisTR and TrackFormer."""

import torch
from detectron2.structures import Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from d2video.modeling.acceleration import accelerate
from d2video.modeling.criterion import SetCriterion, matching_metrics
from d2video.modeling.matcher import Matches
from d2video.modeling.matching_statistics import MatchingStatistics
from d2video.modeling.pixels import PixelNormalizer
from d2video.modeling.predictions import Predictions
from d2video.modeling.query_network import SetPredictionNetwork
from d2video.modeling.targets import ImageTargets
from d2video.structures import ClassHead
from d2video.structures.padding import pad_clips
from d2video.utils.errors import UserError
from d2video.utils.transfer import to_device


class SetPredictionModel(nn.Module):
    """A network, its losses, and pixels in detectron2's units.

    Args:
        network: tensors in, predictions out.
        criterion: the losses.
        pixel_mean, pixel_std: 3 values each, in the units of the input (0 to 255).
        freeze_detector: train the mask branch only; all else neither learns nor drops out.
        compile_model, precision: of the network's ``heavy_parts``; see
            :func:`~d2video.modeling.acceleration.accelerate`.

    Attributes:
        node: the system's node of the config, for messages.
        queries_key: the key of that node that says how many objects an image or clip may have.
        statistics: where set, it takes the matches of every training step.

    Raises:
        UserError: ``freeze_detector`` and a network without a mask branch.
    """

    node: str
    queries_key = "NUM_QUERIES"
    network: SetPredictionNetwork

    def __init__(
        self,
        *,
        network: SetPredictionNetwork,
        criterion: SetCriterion,
        pixel_mean: list[float],
        pixel_std: list[float],
        freeze_detector: bool = False,
        compile_model: bool = False,
        precision: torch.dtype | None = None,
    ):
        super().__init__()
        self.network = network
        self.criterion = criterion
        self.class_head = ClassHead(
            ("network.class_embed.",), range(criterion.num_classes), f"{self.node}.NUM_CLASSES"
        )
        self.normalize = PixelNormalizer(pixel_mean, pixel_std)
        self.freeze_detector = freeze_detector
        self.statistics: MatchingStatistics | None = None
        parts = network.heavy_parts()
        accelerate(self, parts, compile_model=compile_model, precision=precision)
        if freeze_detector:
            if network.mask_branch is None:
                raise UserError(f"{self.node}.FREEZE_DETECTOR needs masks: set MODEL.MASK_ON True")
            self.requires_grad_(False)
            network.mask_branch.requires_grad_(True)

    @property
    def device(self) -> torch.device:
        return self.normalize.device

    def train(self, mode: bool = True) -> "SetPredictionModel":
        """A frozen detector stays in evaluation mode (in official DETR its dropout goes on)."""
        super().train(mode)
        if mode and self.freeze_detector:
            for name, part in self.network.named_children():
                part.train(name == "mask_branch")
        return self

    def batch(self, clips: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Normalise clips, B tensors (T, 3, h_b, w_b) in 0..255, and put them into one tensor.

        Returns:
            frames (B, T, 3, H, W) and padding (B, H, W) bool, None if nothing is padded.
        """
        return pad_clips([self.normalize(clip) for clip in clips])

    def image_targets(self, instances: Instances, classes: Tensor) -> ImageTargets:
        """The targets of one image, on the model's device.

        Args:
            instances: of a mapper (docs/extend/architecture.md).
            classes: see :meth:`check_classes`.
        """
        with_masks = self.network.mask_branch is not None
        return ImageTargets.from_instances(
            instances, self.check_classes(classes), with_masks=with_masks
        )

    def check_classes(self, classes: Tensor) -> Tensor:
        """The class logits of a training sample's objects, (n,) int64, on the model's device.

        Raises:
            UserError: one is K or more; it would be trained as "no object" without notice.
        """
        num_classes = self.criterion.num_classes
        if len(classes) and int(classes.max()) >= num_classes:
            raise UserError(
                f"an object has class logit {int(classes.max())}, the model ends at "
                f"{num_classes - 1}: raise {self.node}.NUM_CLASSES"
            )
        return to_device(classes, self.device)

    def best_classes(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and classes (N,) of the best class, from logits (N, K), or (N, K + 1)."""
        scores, classes = self.criterion.class_loss.probabilities(logits).max(-1)
        return scores, classes

    def matched_losses(
        self,
        predictions: Predictions,
        matches: Matches,
        targets: list[ImageTargets],
        no_object_weights: Tensor | None = None,
        query_padding: Tensor | None = None,
        num_known: int = 0,
    ) -> dict[str, Tensor]:
        """The losses of matched predictions; logs "class_error", "predicted_objects" (the mean over
        the images) and "unmatched_objects" (those without a query, of all steps of this run so far).

        Args:
            predictions, matches, targets, no_object_weights: see :meth:`SetCriterion.__call__`.
            query_padding: (B, Q) bool, True for queries that only pad the batch.
            num_known: of the first queries of each image the object is known beforehand.
        """
        if self.statistics is not None:
            self.statistics.add(predictions, matches, targets, self.criterion.class_loss, num_known)
        losses = self.criterion(predictions, matches, targets, no_object_weights)
        error, objects = matching_metrics(
            predictions.logits[-1],
            matches.of_layer(len(predictions.logits) - 1),
            torch.cat([target.classes for target in targets]),
            self.criterion.class_loss,
            query_padding,
        )
        storage = get_event_storage()
        class_error, predicted = torch.stack([error, objects.mean()]).tolist()
        storage.put_scalar("class_error", class_error, smoothing_hint=False)
        storage.put_scalar("predicted_objects", predicted, smoothing_hint=False)
        # A sum: the metrics are written every 20 steps.
        before, _ = storage.latest().get("unmatched_objects", (0, 0))
        storage.put_scalar("unmatched_objects", before + matches.left_over, smoothing_hint=False)
        return losses


def answer_size(sample: dict) -> tuple[int, int]:
    """(height, width) of the answer to a sample with one image: that of the image if missing."""
    height, width = sample["image"].shape[-2:]
    return sample.get("height", height), sample.get("width", width)

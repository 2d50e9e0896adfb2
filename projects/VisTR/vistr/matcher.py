"""Instance sequence matching (VisTR, sec. 3.2, eq. 1–2): slots against instances, over all frames; and
frame by frame, for comparison.

Shapes: L: decoder layers, B: clips, T: frames, S: slots, K: classes, n: instances of a clip.
"""

import numpy as np
import torch
from torch import Tensor

from d2video.modeling.matcher import Matches, MatchingCost, cheapest, costs_on_host
from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ClipTargets, ImageTargets
from d2video.structures.boxes import box_iou


def _iou(a: Tensor, b: Tensor) -> Tensor:
    return box_iou(a, b, eps=1e-6)[0]


class InstanceSequenceMatcher:
    """Assigns each instance the slot that fits it best over the whole clip.

    The cost of slot s for instance i averages, over the frames, the class probability (negative),
    the L1 distance of the boxes (mean of the four coordinates) and their IoU (negative).

    Args:
        class_cost, box_cost, iou_cost: factors of the three terms.
        count_absent_frames: let frames in which the instance is absent take part in the cost as
            class 0 with whatever box the targets hold, as the official code does. False averages
            over the frames in which it is present.
        official_presence: reproduce a defect of the official code, which looks up the presence of
            the j-th matched *slot's* instance as that of instance j: with two or more instances and
            a permuted assignment, an instance is trained on the frames of another.
    """

    def __init__(
        self,
        class_cost: float = 1.0,
        box_cost: float = 5.0,
        iou_cost: float = 2.0,
        *,
        count_absent_frames: bool = False,
        official_presence: bool = False,
    ):
        self.frame_cost = MatchingCost(class_cost, box_cost / 4, iou_cost, overlap_of=_iou)
        self.count_absent_frames = count_absent_frames
        self.official_presence = official_presence

    def cost(self, predictions: Predictions, target: ClipTargets) -> Tensor:
        """The cost matrices of one clip in all decoder layers.

        Args:
            predictions: of the clip: logits (L, T·S, K + 1), boxes (L, T·S, 4).

        Returns:
            (L, S, n) float32.
        """
        counted = target.present | self.count_absent_frames
        weight = counted.t()[:, None].to(torch.float32)
        cost = self.costs_by_frame(predictions, target)
        return (cost * weight).sum(1) / weight.sum(0).clamp(min=1)

    def costs_by_frame(self, predictions: Predictions, target: ClipTargets) -> Tensor:
        """As :meth:`cost`, of each frame: (L, T, S, n) float32."""
        num_frames = target.present.shape[1]
        by_frame = Predictions(
            predictions.logits.unflatten(1, (num_frames, -1)),
            predictions.boxes.unflatten(1, (num_frames, -1)),
        )
        # (T, 1, n): the instances of each frame against its slots.
        wanted = ImageTargets(
            target.frame_classes.t()[:, None], target.boxes.transpose(0, 1)[:, None]
        )
        return self.frame_cost(by_frame, wanted)

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: list[ClipTargets]) -> Matches:
        """
        Args:
            predictions: of B clips.
            targets: B clips.

        Returns:
            the matched (layer, clip, query, target) of every frame in which the matched instance is
            present; targets are numbered as in :meth:`ClipTargets.by_frame` over the batch.
        """
        costs = [
            self.cost(predictions.of_image(clip), target) for clip, target in enumerate(targets)
        ]
        everywhere = torch.cat([target.present for target in targets])
        blocks, [present] = costs_on_host(costs, [everywhere])
        slots, left_over = cheapest(blocks, _none_known(blocks))
        num_frames, num_slots = present.shape[1], costs[0].shape[1]
        match, frame = present[self._looked_up(slots, targets)].nonzero()
        layer, clip, slot, target = slots[:, match]
        rows = [layer, clip, frame * num_slots + slot, target * num_frames + frame]
        return Matches.of(np.stack(rows), costs[0].device, left_over)

    def _looked_up(self, slots: np.ndarray, targets: list[ClipTargets]) -> np.ndarray:
        """(M,) int64, of each matched slot, a column of (4, M), the instance whose presence counts."""
        layer, clip, _, target = slots
        if not self.official_presence:
            return target
        group = layer * len(targets) + clip
        rank = np.arange(len(group)) - np.searchsorted(group, group)
        return np.cumsum([0, *map(len, targets)])[clip] + rank


def _none_known(costs: list[np.ndarray]) -> np.ndarray:
    """That no slot's instance is known beforehand."""
    return np.zeros((len(costs), 0), np.int64)


class FrameMatcher(InstanceSequenceMatcher):
    """Matches each frame by itself, as DETR does images: an instance may have another slot in every
    frame, which the sequence matching of VisTR rules out."""

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: list[ClipTargets]) -> Matches:
        """See :meth:`InstanceSequenceMatcher.__call__`; only instances that a frame shows have a slot
        in it."""
        costs = [
            self.costs_by_frame(predictions.of_image(clip), target)
            for clip, target in enumerate(targets)
        ]
        everywhere = torch.cat([target.present for target in targets])
        by_clip, [numbers] = costs_on_host(costs, [everywhere])
        num_frames, num_slots = costs[0].shape[1:3]
        blocks, instances, before = [], [], 0
        for cost, target in zip(by_clip, targets):
            present = numbers[before : before + len(target)] > 0
            blocks += [cost[:, frame][..., present[:, frame]] for frame in range(num_frames)]
            frame, instance = present.T.nonzero()
            instances.append((before + instance) * num_frames + frame)
            before += len(target)
        (layer, group, slot, place), left_over = cheapest(blocks, _none_known(blocks))
        clip, frame = group // num_frames, group % num_frames
        rows = [layer, clip, frame * num_slots + slot, np.concatenate(instances)[place]]
        return Matches.of(np.stack(rows), costs[0].device, left_over)

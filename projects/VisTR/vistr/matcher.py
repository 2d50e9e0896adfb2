"""Instance sequence matching (VisTR, sec. 3.2, eq. 1–2): slots against instances, over all frames.

Shapes: L: decoder layers, B: clips, T: frames, S: slots, K: classes, n: instances of a clip.
"""

import torch
from torch import Tensor

from d2video.modeling.criterion import Matches
from d2video.modeling.matcher import solve_assignments
from d2video.modeling.targets import ClipTargets
from d2video.structures.boxes import box_cxcywh_to_xyxy, box_iou


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
        self.class_cost = class_cost
        self.box_cost = box_cost
        self.iou_cost = iou_cost
        self.count_absent_frames = count_absent_frames
        self.official_presence = official_presence

    def cost(self, logits: Tensor, boxes: Tensor, target: ClipTargets) -> Tensor:
        """The cost matrices of one clip in all decoder layers.

        Args:
            logits: (L, T, S, K + 1).
            boxes: (L, T, S, 4), cxcywh.

        Returns:
            (L, S, n) float32.
        """
        if self.count_absent_frames:
            counted = torch.ones_like(target.present)
            classes = target.frame_classes
        else:
            counted = target.present
            classes = target.classes[:, None].expand_as(target.present)
        num_layers, _, num_slots = logits.shape[:3]
        probability = logits.float().softmax(-1)
        # (n, T) classes pick from (L, T, S, K + 1): (L, T, S, n).
        index = classes.t()[None, :, None].expand(num_layers, -1, num_slots, -1)
        class_term = -probability.gather(-1, index)
        predicted = boxes.float()[..., None, :]
        wanted = target.boxes.transpose(0, 1)[None, :, None]
        box_term = (predicted - wanted).abs().mean(-1)
        iou, _ = box_iou(box_cxcywh_to_xyxy(predicted), box_cxcywh_to_xyxy(wanted), eps=1e-6)
        cost = self.class_cost * class_term + self.box_cost * box_term - self.iou_cost * iou
        weight = counted.t()[None, :, None].to(cost.dtype)
        return (cost * weight).sum(1) / weight.sum(1).clamp(min=1)

    @torch.no_grad()
    def __call__(self, logits: Tensor, boxes: Tensor, targets: list[ClipTargets]) -> Matches:
        """
        Args:
            logits: (L, B, T·S, K + 1).
            boxes: (L, B, T·S, 4), cxcywh.
            targets: B clips.

        Returns:
            the matched (layer, clip, query, target) of every frame in which the matched instance is
            present. Targets are numbered over the batch, instance-major: with o the number of
            (instance, frame) pairs of earlier clips, instance i in frame t is o + i·T + t.
        """
        num_frames = targets[0].present.shape[1]
        logits = logits.unflatten(2, (num_frames, -1))
        boxes = boxes.unflatten(2, (num_frames, -1))
        num_slots = logits.shape[3]
        assignments = solve_assignments(
            [self.cost(logits[:, b], boxes[:, b], target) for b, target in enumerate(targets)]
        )
        frames = torch.arange(num_frames, device=logits.device)
        rows = []
        for layer, clips in enumerate(assignments):
            offset = 0
            for clip, ((slots, instances), target) in enumerate(zip(clips, targets)):
                if self.official_presence:
                    present = target.present[: len(instances)]
                else:
                    present = target.present[instances]
                query = frames * num_slots + slots[:, None]
                index = offset + instances[:, None] * num_frames + frames
                where = torch.stack([torch.full_like(query, layer), torch.full_like(query, clip)])
                rows.append(torch.cat([where, torch.stack([query, index])])[:, present])
                offset += len(target) * num_frames
        return Matches(*torch.cat(rows, dim=1))

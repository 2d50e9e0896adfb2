"""The losses of a two-stage network's first stage.

Shapes: B: images, S: proposals, n: track queries, Q: proposals that object queries start from.
"""

import torch
import torch.nn.functional as F
from d2video.projects.trackformer.network.base import ProposalLinks
from d2video.projects.trackformer.training.track_queries import PADDED
from torch import Tensor, zeros_like
from torchvision.ops import box_iou

from d2video.modeling.criterion import SetCriterion
from d2video.modeling.matcher import Matches
from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ImageTargets
from d2video.structures.boxes import box_cxcywh_to_xyxy, generalized_box_iou
from d2video.utils.transfer import to_device


def proposal_targets(targets: list[ImageTargets]) -> list[ImageTargets]:
    """What proposals learn, which separate objects (class 0) from background."""
    return [ImageTargets(zeros_like(target.classes), target.boxes) for target in targets]


def proposal_losses(
    proposals: Predictions,
    matches: Matches,
    objects: list[ImageTargets],
    criterion: SetCriterion,
) -> dict[str, Tensor]:
    """Weighted losses of proposals; their names end in "_enc".

    Args:
        matches: with the objects.
        objects: see :func:`proposal_targets`.
    """
    found = criterion(proposals, matches, objects)
    return {f"{name}_enc": value for name, value in found.items()}


def dense_proposal_losses(
    proposals: Predictions, centres: Tensor, targets: list[ImageTargets]
) -> dict[str, Tensor]:
    """Weighted losses of proposals of which every one within an object learns its box.

    The score that a proposal learns, and its weight in the losses of the box, is 1 where its cell lies at
    the centre of the object and exp(-2) at the corners. The class loss is the quality focal loss (Li et
    al., NeurIPS 2020, eq. 1 with beta 2) of the first class alone; L1, GIoU and class have DETR's weights
    5, 2 and 2.

    Args:
        proposals: of one layer, S an image.
        centres: (B or 1, S, 2), x and y of their cells in [0, 1].
        targets: B images.

    Returns:
        "loss_ce_dense", a mean over the objects, and "loss_bbox_dense" and "loss_giou_dense", weighted
        means over the proposals within objects.
    """
    logits, boxes = proposals.logits[-1, ..., 0].float(), proposals.boxes[-1].float()
    wanted, goals = zeros_like(logits), boxes.detach().clone()
    for image, (target, cells) in enumerate(zip(targets, centres.expand(len(boxes), -1, -1))):
        if len(target):
            half = target.boxes[:, 2:].clamp(min=1e-6) / 2
            away = ((cells[:, None] - target.boxes[:, :2]) / half).abs()  # (S, n, 2)
            near = torch.exp(-away.square().sum(-1)) * (away.amax(-1) < 1)
            wanted[image], nearest = near.max(1)
            goals[image] = target.boxes[nearest]
    inside = (wanted > 0).nonzero(as_tuple=True)
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    entropy = entropy * (logits.detach().sigmoid() - wanted).square()
    weights = wanted[inside] / wanted.sum().clamp(min=1e-6)
    found, goal = boxes[inside], goals[inside]
    overlap = generalized_box_iou(box_cxcywh_to_xyxy(found), box_cxcywh_to_xyxy(goal), 0.0)
    return {
        "loss_ce_dense": 2 * entropy.sum() / max(sum(map(len, targets)), 1),
        "loss_bbox_dense": 5 * ((found - goal).abs().sum(-1) * weights).sum(),
        "loss_giou_dense": 2 * ((1 - overlap) * weights).sum(),
    }


def link_losses(
    links: ProposalLinks, rows: Tensor, targets: list[ImageTargets], least: float = 0.4
) -> dict[str, Tensor]:
    """ "loss_link": the mean cross-entropy of the proposal that a track query should be linked to.

    That is the one of greatest IoU with the query's object, "none" if no IoU is above ``least``.

    Args:
        rows: (B, n) int64, of the track queries, see :class:`TrackQuerySampler`.
        targets: B images.
    """
    none = links.boxes.shape[1]
    wanted = torch.full_like(rows, none)
    has_object = rows.cpu() >= 0
    for image, target in enumerate(targets):
        queries = to_device(has_object[image].nonzero()[:, 0], rows.device)
        objects = box_cxcywh_to_xyxy(target.boxes[rows[image, queries]])
        overlap, best = box_iou(objects, box_cxcywh_to_xyxy(links.boxes[image])).max(1)
        wanted[image, queries] = best.where(overlap > least, none)
    wanted = wanted.masked_fill(rows == PADDED, -1).flatten()
    loss = F.cross_entropy(links.logits.flatten(0, 1), wanted, ignore_index=-1, reduction="sum")
    return {"loss_link": loss / (wanted >= 0).sum().clamp(min=1)}

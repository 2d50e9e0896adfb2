"""Scores of predictions that take their masks into account.

A class score says what an object is, not how good its mask is, nor whether another prediction shows the
same object. Both show in the masks.

Shapes: N: predictions of an image or clip, T: its frames (1 of an image), h×w: mask logits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rescoring:
    """Factors of the scores of an image's or clip's predictions.

    Attributes:
        mask_scores: times :func:`mask_confidences` to this power; 0: not. (The official code of
            Mask2Former, Cheng et al., CVPR 2022, has 1.)
        soft_nms: times 1 - the similarity with the most similar prediction of a higher score (Soft-NMS,
            Bodla et al., ICCV 2017, linear; all at once as in Matrix NMS, Wang et al., NeurIPS 2020).
    """

    mask_scores: float = 0.0
    soft_nms: bool = False

    def __bool__(self) -> bool:
        return self.mask_scores > 0 or self.soft_nms

    def factors(self, scores: Tensor, masks: Tensor, agreement: Tensor) -> Tensor:
        """
        Args:
            scores: (N,) in [0, 1].
            masks: (N, T, h, w) logits, without padding.
            agreement: (N, N) in [0, 1], of the classes of two predictions; their similarity is its product
                with the IoU of their masks, over all frames.

        Returns:
            (N,) in [0, 1].
        """
        factors = torch.ones_like(scores)
        if not len(scores):
            return factors
        if self.mask_scores:
            factors = mask_confidences(masks).to(scores.dtype) ** self.mask_scores
        if self.soft_nms:
            found = scores * factors
            similar = (logit_ious(masks, masks) * agreement).to(found.dtype)
            lower = found[:, None] < found
            # Of equal scores the first one counts as the higher.
            lower |= (found[:, None] == found) & torch.ones_like(lower).tril(-1)
            factors = factors * (1 - (similar * lower).amax(1).clamp(max=1))
        return factors


def mask_confidences(logits: Tensor) -> Tensor:
    """Mask logits (N, ...) to the mean probability (N,) of their positive pixels, in whichever frames these
    are; 0 if there are none."""
    flat = logits.float().flatten(1)
    positive = flat > 0
    return (flat.sigmoid() * positive).sum(-1) / positive.sum(-1).clamp(min=1)


def mask_ious(a: Tensor, b: Tensor) -> Tensor:
    """IoU of all pairs of masks, (M, P) and (N, P) of bool or of 0 and 1, as float32 (M, N); 0 of two empty
    ones."""
    a, b = a.float(), b.float()
    intersection = a @ b.t()
    return intersection / (a.sum(1)[:, None] + b.sum(1) - intersection).clamp(min=1)


def logit_ious(a: Tensor, b: Tensor) -> Tensor:
    """:func:`mask_ious` of mask logits (M, ...) and (N, ...), over all frames and pixels."""
    return mask_ious((a > 0).flatten(1), (b > 0).flatten(1))

"""The losses of a two-stage network's first stage."""

from torch import Tensor, zeros_like

from d2video.modeling.criterion import SetCriterion
from d2video.modeling.matcher import HungarianMatcher
from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ImageTargets


def proposal_losses(
    proposals: Predictions,
    targets: list[ImageTargets],
    matcher: HungarianMatcher,
    criterion: SetCriterion,
) -> dict[str, Tensor]:
    """Weighted losses of proposals, which separate objects (class 0) from background; their names end in
    "_enc"."""
    objects = [ImageTargets(zeros_like(target.classes), target.boxes) for target in targets]
    found = criterion(proposals, matcher(proposals, objects), objects)
    return {f"{name}_enc": value for name, value in found.items()}

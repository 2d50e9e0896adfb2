"""What several networks and losses share."""

from d2video.modeling.backbone import build_frame_backbone
from d2video.modeling.criterion import BoxLoss, ClassificationLoss, MaskLoss, SetCriterion
from d2video.modeling.losses import CrossEntropy, Focal, dice_loss, sigmoid_focal_loss
from d2video.modeling.mask_head import MaskBranch
from d2video.modeling.matcher import HungarianMatcher, Matches, MatchingCost
from d2video.modeling.pixels import PixelNormalizer, rows_at_once
from d2video.modeling.predictions import Encoded, Predictions
from d2video.modeling.query_network import QueryNetwork, SetPredictionNetwork
from d2video.modeling.set_prediction import SetPredictionModel
from d2video.modeling.targets import ClipTargets, ImageTargets

__all__ = [
    "BoxLoss",
    "ClassificationLoss",
    "ClipTargets",
    "CrossEntropy",
    "Encoded",
    "Focal",
    "HungarianMatcher",
    "ImageTargets",
    "MaskBranch",
    "MaskLoss",
    "Matches",
    "MatchingCost",
    "PixelNormalizer",
    "Predictions",
    "QueryNetwork",
    "SetCriterion",
    "SetPredictionModel",
    "SetPredictionNetwork",
    "build_frame_backbone",
    "dice_loss",
    "rows_at_once",
    "sigmoid_focal_loss",
]

"""Evaluators: what a model's answers are worth."""

from d2video.evaluation.build import EVALUATOR_REGISTRY, build_evaluator, register_evaluator
from d2video.evaluation.classification_evaluator import VideoClassificationEvaluator
from d2video.evaluation.coco_evaluators import COCOInstanceEvaluator
from d2video.evaluation.mot_evaluator import MOTEvaluator
from d2video.evaluation.panoptic_evaluator import PanopticEvaluator
from d2video.evaluation.restoration_evaluator import RestorationEvaluator
from d2video.evaluation.ytvis_evaluator import YTVISEvaluator

__all__ = [
    "EVALUATOR_REGISTRY",
    "COCOInstanceEvaluator",
    "MOTEvaluator",
    "PanopticEvaluator",
    "RestorationEvaluator",
    "VideoClassificationEvaluator",
    "YTVISEvaluator",
    "build_evaluator",
    "register_evaluator",
]

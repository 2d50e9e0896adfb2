"""Evaluators: what a model's answers are worth."""

from d2video.evaluation.base import GatheringEvaluator
from d2video.evaluation.build import EVALUATOR_REGISTRY, build_evaluator, evaluation_folder
from d2video.evaluation.classes import match_test_sets
from d2video.evaluation.classification.evaluator import VideoClassificationEvaluator
from d2video.evaluation.coco import COCOInstanceEvaluator
from d2video.evaluation.mot.evaluator import MOTEvaluator
from d2video.evaluation.panoptic.evaluator import PanopticEvaluator
from d2video.evaluation.restoration.evaluator import RestorationEvaluator
from d2video.evaluation.vis.evaluator import YTVISEvaluator

__all__ = [
    "EVALUATOR_REGISTRY",
    "COCOInstanceEvaluator",
    "GatheringEvaluator",
    "MOTEvaluator",
    "PanopticEvaluator",
    "RestorationEvaluator",
    "VideoClassificationEvaluator",
    "YTVISEvaluator",
    "build_evaluator",
    "evaluation_folder",
    "match_test_sets",
]

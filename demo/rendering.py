"""Clips of what a trained model answers to validation videos and images."""

from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from d2video.inference import DrawingOptions, Predictor
from d2video.report import Media
from d2video.report.clips import draw_records
from demo.recipe import Recipe


def render_records(name: str, recipe: Recipe, cfg: CfgNode, folder: Path) -> list[Media]:
    """Draw the answers to the first records of the first test set, or to some of all (``spread``).

    Args:
        name: of the training.
        cfg: with the trained ``MODEL.WEIGHTS``.
        folder: for the files.
    """
    records = DatasetCatalog.get(cfg.DATASETS.TEST[0])
    if recipe.spread:
        records = records[:: max(1, len(records) // recipe.num_clips)]
    options = DrawingOptions(scale=recipe.scale, score_threshold=recipe.score_threshold)
    records = records[: recipe.num_clips]
    drawn = draw_records(Predictor(cfg), records, folder, options, fps=recipe.fps)
    return [Media(f"{name}: validation {caption}", path) for caption, path, _ in drawn]

"""Clips of what a trained model answers to validation videos and images."""

from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from tqdm import tqdm

from d2video.inference import DrawingOptions, Images, Predictor, Source, annotate
from d2video.report import Media
from d2video.video.video_reader import open_video
from demo.recipe import Recipe


def render_records(name: str, recipe: Recipe, cfg: CfgNode, folder: Path) -> list[Media]:
    """Draw the answers to the first records of the first test set, or to some of all (``spread``).

    Args:
        name: of the training.
        cfg: with the trained ``MODEL.WEIGHTS``.
        folder: for the files.
    """
    predictor = Predictor(cfg)
    records = DatasetCatalog.get(cfg.DATASETS.TEST[0])
    if recipe.spread:
        records = records[:: max(1, len(records) // recipe.num_clips)]
    clips = []
    for record in tqdm(records[: recipe.num_clips], desc="render"):
        caption, path = draw_record(recipe, predictor, record, folder)
        clips.append(Media(f"{name}: validation {caption}", path))
    return clips


def draw_record(
    recipe: Recipe, predictor: Predictor, record: dict[str, Any], folder: Path
) -> tuple[str, Path]:
    """Draw the answer to a video or to an image; what it is, and the file."""
    source: Source
    if "image_id" in record:
        caption, path = f"image {record['image_id']}", folder / f"{record['image_id']:06d}.png"
        source = Images(caption, [Path(record["file_name"])])
    else:
        caption = f"video {record.get('sequence', record['video_id'])}"
        path = folder / f"{record['video_id']:04d}.mp4"
        source = open_video(record.get("file_name") or record["file_names"], fps=recipe.fps)
        source.name = caption
    options = DrawingOptions(scale=recipe.scale, score_threshold=recipe.score_threshold)
    annotate(predictor, source, path, options=options)
    if "label" in record and predictor.class_names is not None:
        caption += f", {predictor.class_names[record['label']]}"
    return caption, path

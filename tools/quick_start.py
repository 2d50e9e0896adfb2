#!/usr/bin/env python3
"""Show a system at work in minutes: make data, train, evaluate, render, and write one page.

What is there already is reused; an interrupted training is taken up again. ``make demo`` calls this.
"""

import argparse
import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from recipes import RECIPES, Recipe, Run

from d2video.utils.errors import UserError, exit_on_user_error

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def stage(number: str, title: str) -> Iterator[None]:
    print(f"== {number} {title}", flush=True)
    start = time.perf_counter()
    yield
    print(f"   {title}: {time.perf_counter() - start:.0f} s", flush=True)


def make_data(recipe: Recipe, root: Path) -> None:
    """The recipe's data in ``root``, unless they are there already."""
    from d2video.data.shapes import ShapesSpec, write_coco_shapes, write_ytvis_shapes

    spec = ShapesSpec(**recipe.spec)
    if recipe.images:
        write_coco_shapes(root / "shapes_coco", recipe.splits, spec, panoptic=True, overwrite=True)
    else:
        write_ytvis_shapes(root / "shapes", recipe.splits, spec, overwrite=True)


def fingerprint(recipe: Recipe, run: Run, cfg_text: str) -> str:
    """Changes with whatever changes the trained model: the data, the training's config."""
    content = json.dumps([recipe.splits, recipe.spec, asdict(run), cfg_text])
    return hashlib.sha256(content.encode()).hexdigest()


def train(recipe: Recipe, run: Run, folder: Path, overrides: list[str]) -> bool:
    """Train and evaluate, unless ``folder`` holds the result of the same recipe.

    Returns:
        whether there was anything to do.
    """
    from detectron2.engine import default_argument_parser
    from train_net import run as run_training

    from d2video.engine import load_cfg
    from d2video.projects import register_all

    register_all()
    config_file = str(ROOT / run.config_file)
    mark = fingerprint(recipe, run, load_cfg(config_file, overrides).dump())
    stamp = folder / "recipe.txt"
    same = stamp.is_file() and stamp.read_text() == mark
    if same and (folder / "model_final.pth").is_file():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    if not same:
        for old in [*folder.glob("*.pth"), folder / "last_checkpoint", folder / "metrics.json"]:
            old.unlink(missing_ok=True)
        stamp.write_text(mark)
    resume = ["--resume"] if (folder / "last_checkpoint").is_file() else []
    args = default_argument_parser().parse_args(["--config-file", config_file, *resume, *overrides])
    run_training(args)
    return True


def render(recipe: Recipe, run: Run, folder: Path, overrides: list[str]) -> list[tuple[str, Path]]:
    """Annotate the first validation videos or images; (caption, file) pairs."""
    from detectron2.data import DatasetCatalog
    from tqdm import tqdm

    from d2video.engine import load_cfg

    cfg = load_cfg(str(ROOT / run.config_file), overrides)
    cfg.MODEL.WEIGHTS = str(folder / "model_final.pth")
    records = DatasetCatalog.get(cfg.DATASETS.TEST[0])[: recipe.num_clips]
    draw = draw_images if recipe.images else draw_videos
    return draw(cfg, tqdm(records, desc="render"), folder / "clips", run.name)


def draw_videos(cfg, records, folder: Path, name: str) -> list[tuple[str, Path]]:
    from d2video.engine.predictor import VideoPredictor
    from d2video.utils.video_writer import VideoWriter
    from d2video.utils.visualizer import draw_instances

    predictor = VideoPredictor(cfg)
    clips = []
    for record in records:
        path = folder / f"{record['video_id']:04d}.mp4"
        with VideoWriter(path, fps=6) as writer:
            for frame in predictor(str(Path(record["file_names"][0]).parent)):
                writer.write(
                    draw_instances(
                        frame.image,
                        frame.instances,
                        predictor.class_names,
                        score_threshold=0.5,
                        scale=4,
                    )
                )
        clips.append((f"{name}: validation video {record['video_id']}", path))
    return clips


def draw_images(cfg, records, folder: Path, name: str) -> list[tuple[str, Path]]:
    """Pictures by detectron2's Visualizer, four times as large as the images."""
    import torch
    from detectron2.data import MetadataCatalog
    from detectron2.modeling import build_model
    from detectron2.utils.visualizer import Visualizer

    from d2video.checkpoint import VideoCheckpointer
    from d2video.data.build import build_mapper

    model = build_model(cfg).eval()
    VideoCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)
    mapper = build_mapper(cfg, is_train=False)
    metadata = MetadataCatalog.get(cfg.DATASETS.TEST[0])
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for record in records:
        item = mapper(record)
        with torch.no_grad():
            answer = model([item])[0]
        pixels = item["image"].permute(1, 2, 0).numpy()
        canvas = Visualizer(pixels, metadata, scale=4)
        if "panoptic_seg" in answer:
            ids, segments = answer["panoptic_seg"]
            drawn = canvas.draw_panoptic_seg_predictions(ids.cpu(), segments)
        else:
            found = answer["instances"].to("cpu")
            found = found[found.scores > 0.5]
            drawn = canvas.draw_instance_predictions(found)
        path = folder / f"{record['image_id']:06d}.png"
        drawn.save(str(path))
        pictures.append((f"{name}: validation image {record['image_id']}", path))
    return pictures


def last_results(metrics_file: Path, task: str, names: list[str]) -> dict[str, float]:
    """The values that the last evaluation wrote; NaN for a class that no held-out video shows."""
    from d2video.utils.report import read_metrics

    found = read_metrics(metrics_file, [f"{task}/{name}" for name in names])
    if not found:
        raise UserError(
            f"{metrics_file} holds no results: delete {metrics_file.parent} and run again"
        )
    return {
        name: found[f"{task}/{name}"][-1][1] if f"{task}/{name}" in found else math.nan
        for name in names
    }


def write_page(recipe: Recipe, project: str, output: Path, page: Path, clips) -> dict[str, float]:
    from d2video.utils.report import Table, read_metrics, write_report

    tables, curves, figures = [], {}, {}
    held_out = f"{recipe.splits['val']} held-out {'images' if recipe.images else 'videos'}"
    for run in recipe.runs:
        metrics_file = output / run.name / "metrics.json"
        results = last_results(metrics_file, run.task, list(run.metrics))
        figures.update({f"{run.task} {name}": value for name, value in results.items()})
        overall = [(name, meaning, results[name]) for name, meaning in run.metrics.items()]
        header = ("metric", "meaning", "value (%)")
        tables.append(Table(f"{run.name}: results on {held_out}", header, overall))
        if run.class_metrics:
            names = [f"AP-{name}" for name in recipe.spec["classes"]]
            classes = last_results(metrics_file, run.task, names)
            rows = [(name.removeprefix("AP-"), value) for name, value in classes.items()]
            tables.append(Table(f"{run.name}: AP by class", ("class", "AP (%)"), rows))
        for title, series in run.curves.items():
            found = read_metrics(metrics_file, list(series.values()))
            curves[f"{run.name}: {title}"] = {
                label: found[name] for label, name in series.items() if name in found
            }
    kind = "images" if recipe.images else "videos"
    configs = " and ".join(run.config_file for run in recipe.runs)
    write_report(
        page,
        f"{project} on generated {kind}",
        clips=clips,
        curves=curves,
        tables=tables,
        notes=[
            recipe.summary,
            f"Trained on {recipe.splits['train']} generated {kind}, by {configs}; figures and "
            "pictures are of this run on this machine.",
        ],
    )
    return figures


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", default="VisTR", help="one of " + ", ".join(RECIPES))
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "demo")
    parser.add_argument(
        "opts", nargs="*", metavar="KEY VALUE", help="config keys to change, as in train_net.py"
    )
    args = parser.parse_args(argv)
    if args.project not in RECIPES:
        raise UserError(f"no demo for '{args.project}': choose one of {', '.join(RECIPES)}")
    recipe = RECIPES[args.project]
    data = args.output / "datasets"
    start = time.perf_counter()
    # Data sets are registered under this folder when d2video.data is imported, so that all imports
    # of it come after this line, here and in the functions above.
    os.environ["DETECTRON2_DATASETS"] = str(data)
    import torch

    steps = 2 + 2 * len(recipe.runs)
    with stage(f"1/{steps}", f"make {'images' if recipe.images else 'videos'}"):
        make_data(recipe, data)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    logging.captureWarnings(True)
    clips = []
    for number, run in enumerate(recipe.runs):
        folder = args.output / run.name
        overrides = ["OUTPUT_DIR", str(folder), "MODEL.DEVICE", device, *args.opts]
        with stage(f"{2 + 2 * number}/{steps}", f"train and evaluate {run.name} on {device}"):
            if not train(recipe, run, folder, overrides):
                print("   reused: the model trained before")
        with stage(f"{3 + 2 * number}/{steps}", f"render results of {run.name}"):
            clips += render(recipe, run, folder, overrides)
    with stage(f"{steps}/{steps}", "write the page"):
        page = args.output / "index.html"
        results = write_page(recipe, args.project, args.output, page, clips)
    figures = ", ".join(f"{k} {v:.1f}" for k, v in results.items() if not math.isnan(v))
    print(f"== done in {time.perf_counter() - start:.0f} s: {figures}")
    print(f"Open {page.resolve().as_uri()}")


if __name__ == "__main__":
    main()

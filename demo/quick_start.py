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
from dataclasses import asdict, replace
from pathlib import Path

from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.files import replace_on_success
from demo.page import write_page
from demo.recipes import RECIPES, Recipe, Run

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def stage(number: str, title: str) -> Iterator[None]:
    print(f"== {number} {title}", flush=True)
    start = time.perf_counter()
    yield
    print(f"   {title}: {time.perf_counter() - start:.0f} s", flush=True)


def make_data(recipe: Recipe, root: Path) -> None:
    """The recipe's data in ``root``, unless they are there already."""
    from d2video.synthetic import (
        MotionSpec,
        RestorationSpec,
        ShapesSpec,
        write_coco_shapes,
        write_mot_shapes,
        write_motion_videos,
        write_restoration_images,
        write_ytvis_shapes,
    )

    if recipe.kind == "classification":
        motion = MotionSpec(**recipe.spec)
        write_motion_videos(root / "motion", recipe.splits, motion, overwrite=True)
        return
    if recipe.kind == "restoration":
        detail = RestorationSpec(**recipe.spec)
        write_restoration_images(root / "shapes_images", recipe.splits, detail, overwrite=True)
        return
    spec = ShapesSpec(**recipe.spec)
    if recipe.kind == "images":
        write_coco_shapes(root / "shapes_coco", recipe.splits, spec, panoptic=True, overwrite=True)
    elif recipe.kind == "tracking":
        write_mot_shapes(root / "shapes_mot", recipe.splits, spec, overwrite=True)
    else:
        write_ytvis_shapes(root / "shapes", recipe.splits, spec, overwrite=True)


def fingerprint(recipe: Recipe, run: Run, cfg_text: str) -> str:
    """Changes with whatever changes the trained model: the data, the training's config."""
    trained = asdict(replace(run, ablations={}))
    content = json.dumps([recipe.splits, recipe.spec, trained, cfg_text])
    return hashlib.sha256(content.encode()).hexdigest()


def train(recipe: Recipe, run: Run, folder: Path, overrides: list[str]) -> bool:
    """Train and evaluate, unless ``folder`` holds the result of the same recipe.

    Returns:
        whether there was anything to do.
    """
    from d2video.cli.train import main as train_net
    from d2video.config import load_cfg
    from d2video.projects import register_all

    register_all()
    config_file = str(ROOT / run.config_file)
    cfg = load_cfg(config_file, overrides)
    mark = fingerprint(recipe, run, cfg.dump())
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
    processes = 1
    if cfg.MODEL.DEVICE == "cpu":
        processes = min(run.processes, os.cpu_count() or 1)
    shared = ["--num-gpus", str(processes), "--dist-url", "auto"]
    train_net(["--config-file", config_file, *shared, *resume, *overrides])
    return True


def ablate(run: Run, name: str, folder: Path, overrides: list[str]) -> None:
    """Evaluate the trained model with the settings of an ablation; results go to ``<name>.json``.

    Args:
        folder: of the training.
        overrides: as for the training.
    """
    from d2video.checkpoint import VideoCheckpointer
    from d2video.config import load_cfg
    from d2video.engine import VideoTrainer

    # What the config expects of the training does not hold for it.
    own = ["OUTPUT_DIR", str(folder / name), "TEST.EXPECTED_RESULTS", "[]"]
    cfg = load_cfg(str(ROOT / run.config_file), [*overrides, *run.ablations[name], *own])
    model = VideoTrainer.build_model(cfg)
    VideoCheckpointer(model, strict=True).load(str(folder / "model_final.pth"))
    results = VideoTrainer.test(cfg, model)
    with replace_on_success(folder / f"{name}.json") as partial:
        partial.write_text(json.dumps(results, indent=1) + "\n")


def link(run: Run, folder: Path, overrides: list[str]) -> None:
    """Evaluate the tracker's own detections, linked by overlap alone, into ``linked.json``."""
    from d2video.projects.trackformer.iou_baseline import evaluate

    from d2video.config import load_cfg

    cfg = load_cfg(str(ROOT / run.config_file), overrides)
    cfg.MODEL.WEIGHTS = str(folder / "model_final.pth")
    (result,) = evaluate(cfg).values()
    (folder / "linked.json").write_text(json.dumps(result, indent=1) + "\n")


def render(recipe: Recipe, run: Run, folder: Path, overrides: list[str]) -> list[tuple[str, Path]]:
    """Annotate the first validation videos or images; (caption, file) pairs."""
    from detectron2.data import DatasetCatalog
    from tqdm import tqdm

    from d2video.config import load_cfg
    from d2video.inference.predictor import VideoPredictor

    cfg = load_cfg(str(ROOT / run.config_file), overrides)
    cfg.MODEL.WEIGHTS = str(folder / "model_final.pth")
    predictor = VideoPredictor(cfg)
    if recipe.kind == "restoration":
        from projects.IPT.demo_pictures import draw_restorations

        more = (folder / "clips", recipe.num_clips, recipe.scale)
        return draw_restorations(run.name, cfg, predictor.model, *more)
    records = DatasetCatalog.get(cfg.DATASETS.TEST[0])
    if recipe.kind == "classification":  # in the order of their classes
        records = records[:: max(1, len(records) // recipe.num_clips)]
    draw = draw_image if recipe.kind == "images" else draw_video
    return [
        draw(recipe, run, predictor, record, folder / "clips")
        for record in tqdm(records[: recipe.num_clips], desc="render")
    ]


def draw_video(recipe: Recipe, run: Run, predictor, record, folder: Path) -> tuple[str, Path]:
    from d2video.inference import DrawingOptions, annotate
    from d2video.video.image_io import read_rgb
    from d2video.video.video_reader import open_video

    path = folder / f"{record['video_id']:04d}.mp4"
    source = record.get("file_name") or map(read_rgb, record["file_names"])
    video = open_video(source, fps=recipe.fps)
    annotate(predictor, video, path, options=DrawingOptions(scale=recipe.scale))
    caption = f"{run.name}: validation video {record.get('sequence', record['video_id'])}"
    if "label" in record and predictor.class_names is not None:
        caption += f", {predictor.class_names[record['label']]}"
    return caption, path


def draw_image(recipe: Recipe, run: Run, predictor, record, folder: Path) -> tuple[str, Path]:
    from d2video.inference import DrawingOptions, Images, annotate

    path = folder / f"{record['image_id']:06d}.png"
    image = Images(record["file_name"], [Path(record["file_name"])])
    annotate(predictor, image, path, options=DrawingOptions(scale=recipe.scale))
    return f"{run.name}: validation image {record['image_id']}", path


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
    with stage(f"1/{steps}", f"make {recipe.noun}"):
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
            for name in run.ablations:
                ablate(run, name, folder, overrides)
            if recipe.link_detections:
                link(run, folder, overrides)
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

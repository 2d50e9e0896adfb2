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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from d2video.utils.errors import UserError, exit_on_user_error


@dataclass(frozen=True)
class Recipe:
    """How a system is shown.

    Attributes:
        config_file: relative to the repository.
        splits: generated videos by split.
        spec: what they look like: arguments of ``d2video.data.shapes.ShapesSpec``.
        summary: what the page says about the task.
        metrics: names in the evaluator's answer, and what they mean.
        curves: chart title to {series name: name in metrics.json}.
        num_clips: videos rendered, the first ones of the validation split.
    """

    config_file: str
    splits: dict[str, int]
    spec: dict[str, Any]
    summary: str
    metrics: dict[str, str]
    curves: dict[str, dict[str, str]]
    num_clips: int = 8


RECIPES = {
    "VisTR": Recipe(
        config_file="configs/VisTR/vistr_tiny_shapes.yaml",
        splits={"train": 1000, "val": 60},
        # The easier variant: large shapes that move slowly over quiet backgrounds, and whose classes
        # have patterns and hues of their own, as animals have.
        spec={
            "classes": ("circle", "triangle", "square"),
            "num_frames": (5, 5),
            "duration": 0.4,
            "size": (0.35, 0.55),
            "class_textures": True,
            "class_colours": True,
            "background_contrast": 0.3,
        },
        summary=(
            "VisTR segments and tracks moving shapes. Each clip shows a video of the validation "
            "split, which the model never saw: colours are track identities, labels give class, "
            "score and identity. The clips are the first ones of the split, not the best."
        ),
        metrics={
            "AP": "mask AP, mean over IoU thresholds 0.50 to 0.95",
            "AP50": "mask AP at IoU 0.50",
            "AP75": "mask AP at IoU 0.75",
            "AR1": "recall with one prediction a class and video",
            "AR10": "recall with ten",
        },
        curves={
            "Training loss": {"total": "total_loss"},
            "Terms of the last decoder layer": {
                "class": "loss_ce",
                "box": "loss_bbox",
                "GIoU": "loss_giou",
                "mask": "loss_mask",
                "dice": "loss_dice",
            },
        },
    )
}

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def stage(number: int, title: str) -> Iterator[None]:
    print(f"== {number}/4 {title}", flush=True)
    start = time.perf_counter()
    yield
    print(f"   {title}: {time.perf_counter() - start:.0f} s", flush=True)


def fingerprint(recipe: Recipe, overrides: list[str]) -> str:
    """Changes with whatever changes the trained model: recipe, config file, overrides."""
    content = json.dumps([asdict(recipe), overrides]) + (ROOT / recipe.config_file).read_text()
    return hashlib.sha256(content.encode()).hexdigest()


def train(recipe: Recipe, folder: Path, overrides: list[str]) -> bool:
    """Train and evaluate, unless ``folder`` holds the result of the same recipe.

    Returns:
        whether there was anything to do.
    """
    from detectron2.engine import default_argument_parser
    from train_net import run

    stamp, mark = folder / "recipe.txt", fingerprint(recipe, overrides)
    same = stamp.is_file() and stamp.read_text() == mark
    if same and (folder / "model_final.pth").is_file():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    if not same:
        for old in [*folder.glob("*.pth"), folder / "last_checkpoint", folder / "metrics.json"]:
            old.unlink(missing_ok=True)
        stamp.write_text(mark)
    resume = ["--resume"] if (folder / "last_checkpoint").is_file() else []
    args = default_argument_parser().parse_args(
        ["--config-file", str(ROOT / recipe.config_file), *resume, *overrides]
    )
    run(args)
    return True


def render(recipe: Recipe, folder: Path, overrides: list[str]) -> list[tuple[str, Path]]:
    """Annotate the first validation videos; (caption, MP4) pairs."""
    from detectron2.data import DatasetCatalog
    from tqdm import tqdm

    from d2video.engine import load_cfg
    from d2video.engine.predictor import VideoPredictor
    from d2video.utils.video_writer import VideoWriter
    from d2video.utils.visualizer import draw_instances

    cfg = load_cfg(str(ROOT / recipe.config_file), overrides)
    records = DatasetCatalog.get(cfg.DATASETS.TEST[0])[: recipe.num_clips]
    cfg.MODEL.WEIGHTS = str(folder / "model_final.pth")
    predictor = VideoPredictor(cfg)
    clips = []
    for record in tqdm(records, desc="render", unit="video"):
        path = folder / "clips" / f"{record['video_id']:04d}.mp4"
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
        clips.append((f"validation video {record['video_id']}", path))
    return clips


def last_results(metrics_file: Path, names: list[str]) -> dict[str, float]:
    """The values that the last evaluation wrote; NaN for a class that no held-out video shows."""
    from d2video.utils.report import read_metrics

    found = read_metrics(metrics_file, [f"segm/{name}" for name in names])
    if not found:
        raise UserError(f"{metrics_file} holds no AP: delete {metrics_file.parent} and run again")
    return {
        name: found[f"segm/{name}"][-1][1] if f"segm/{name}" in found else math.nan
        for name in names
    }


def write_page(recipe: Recipe, project: str, folder: Path, page: Path, clips) -> dict[str, float]:
    from d2video.utils.report import Table, read_metrics, write_report

    metrics_file = folder / "metrics.json"
    results = last_results(metrics_file, list(recipe.metrics))
    classes = last_results(metrics_file, [f"AP-{name}" for name in recipe.spec["classes"]])
    curves = {}
    for title, series in recipe.curves.items():
        found = read_metrics(metrics_file, list(series.values()))
        curves[title] = {label: found[name] for label, name in series.items() if name in found}
    overall = [(name, meaning, results[name]) for name, meaning in recipe.metrics.items()]
    per_class = [(name.removeprefix("AP-"), value) for name, value in classes.items()]
    held_out = f"{recipe.splits['val']} held-out videos"
    write_report(
        page,
        f"{project} on generated videos",
        clips=clips,
        curves=curves,
        tables=[
            Table(f"Mask AP on {held_out}", ("metric", "meaning", "value (%)"), overall),
            Table("AP by class", ("class", "AP (%)"), per_class),
        ],
        notes=[
            recipe.summary,
            f"Trained on {recipe.splits['train']} generated videos, by the config "
            f"{recipe.config_file}; figures and pictures are of this run on this machine.",
        ],
    )
    return results


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
    folder, data = args.output / args.project, args.output / "datasets"
    start = time.perf_counter()
    # Data sets are registered under this folder when d2video.data is imported, so that all imports
    # of it come after this line, here and in the functions above.
    os.environ["DETECTRON2_DATASETS"] = str(data)
    import torch

    from d2video.data.shapes import ShapesSpec, write_ytvis_shapes

    with stage(1, "make videos"):
        spec = ShapesSpec(**recipe.spec)
        write_ytvis_shapes(data / "shapes", recipe.splits, spec, overwrite=True)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    overrides = ["OUTPUT_DIR", str(folder), "MODEL.DEVICE", device, *args.opts]
    logging.captureWarnings(True)
    with stage(2, f"train and evaluate on {device}"):
        if not train(recipe, folder, overrides):
            print("   reused: the model trained before")
    with stage(3, "render clips"):
        clips = render(recipe, folder, overrides)
    with stage(4, "write the page"):
        page = args.output / "index.html"
        results = write_page(recipe, args.project, folder, page, clips)
    figures = ", ".join(f"{k} {v:.1f}" for k, v in results.items() if not math.isnan(v))
    print(f"== done in {time.perf_counter() - start:.0f} s: {figures}")
    print(f"Open {page.resolve().as_uri()}")


if __name__ == "__main__":
    main()

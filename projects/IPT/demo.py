"""IPT in `make demo`, beside what needs no learning."""

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from detectron2.config import CfgNode
from torch import Tensor

from d2video.report import Media, Table
from d2video.report.results import read_metrics
from d2video.synthetic import RestorationSpec, write_restoration_images
from d2video.utils.errors import UserError
from demo.recipe import SEEDS, Recipe, Run, value_range

_MODEL = "IPT"
# As RestorationEvaluator names its results, with the dataset in front where there are several.
_KEY = re.compile(r"(?:.+/)?restoration/(?:([a-z]+)-)?(PSNR_Y|PSNR_RGB|SSIM)-(\w+)")
_TITLES = {"input": "degraded input", "bilateral": "bilateral filter, best of several settings"}


@dataclass(frozen=True)
class RestorationRun(Run):
    """A training whose evaluation gives values by task and method."""

    def results(self, folder: Path, held_out: str) -> tuple[dict[str, float], list[Table]]:
        """One table: a row for each task and method, the baselines first."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        seeds = {}
        for key, points in read_metrics(folder / "metrics.json").items():
            if match := _KEY.fullmatch(key):
                method, name, task = match.groups()
                found.setdefault(task, {}).setdefault(method or _MODEL, {})[name] = points[-1][1]
                if key in self.seeds:
                    seeds[task] = value_range(self.seeds[key], decimals=2)
        if not found:
            raise UserError(
                f"{folder}/metrics.json holds no results: delete {folder} and run again"
            )
        rows: list[list[str | float | None]] = []
        figures = {}
        for task, methods in found.items():
            model = methods.pop(_MODEL)
            gain = model["PSNR_Y"] - max(values["PSNR_Y"] for values in methods.values())
            for method, values in [*methods.items(), (_MODEL, model)]:
                shown = [values["PSNR_Y"], values["PSNR_RGB"], 100 * values["SSIM"]]
                last = [gain, seeds.get(task)] if method == _MODEL else [None, None]
                rows.append([task, _TITLES.get(method, method), *shown, *last])
            figures.update({f"{task} PSNR-Y": model["PSNR_Y"], f"{task} gain": gain})
        decibels = [f"{name} (dB)" for name in ("PSNR-Y", "PSNR-RGB")]
        gains = ("gain in PSNR-Y (dB)", f"PSNR-Y {SEEDS}")
        header = ("task", "method", *decibels, "SSIM (%)", *gains)
        caption = f"{self.name}: results on {held_out}"
        return figures, [Table(caption, header, rows, decimals=2)]

    @torch.no_grad()
    def render(self, recipe: Recipe, cfg: CfgNode, folder: Path) -> list[Media]:
        """Pictures of the first images of each test set: input, best baseline, restored, target."""
        from d2video.data import build_test_loader
        from d2video.evaluation.restoration.evaluator import measured_task
        from d2video.inference.predictor import Predictor
        from d2video.video.image_writer import ImageFileWriter
        from d2video.visualization.samples import arrange

        model = Predictor(cfg).model
        each = max(1, recipe.num_clips // len(cfg.DATASETS.TEST))
        pictures = []
        for dataset in cfg.DATASETS.TEST:
            for batch in islice(build_test_loader(cfg, dataset), each):
                for item, answer in zip(batch, model(batch), strict=True):
                    path = folder / f"{dataset}_{Path(item['file_name']).stem}.png"
                    panels, caption = compare(item, answer["restored"])
                    with ImageFileWriter(path) as writer:
                        writer.write(arrange(panels, recipe.scale))
                    pictures.append(Media(f"{self.name}: {measured_task(item)}: {caption}", path))
        return pictures


def compare(item: dict, restored: Tensor) -> tuple[list[Tensor], str]:
    """The panels (3,H,W) of one image, and what they are, with PSNR-Y of this image.

    The baseline is the best one on the image itself.

    Args:
        item: of the test loader.
    """
    from d2video.evaluation.restoration.baselines import INPUT, baselines
    from d2video.evaluation.restoration.evaluator import measured_task
    from d2video.evaluation.restoration.metrics import measure

    target = item["target"].float()
    size = (target.shape[-2], target.shape[-1])
    factor = size[1] // item["image"].shape[-1]
    border = factor if factor > 1 else 0
    large = item["image"].repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    found = baselines(item["image"], size, denoises=measured_task(item).startswith("denoise"))
    found = {method: image for method, image in found.items() if method != INPUT}
    panels, words = [large], ["input, enlarged" if factor > 1 else "input"]
    if found:
        psnr = {method: measure(image, target, border).psnr_y for method, image in found.items()}
        best = max(psnr, key=lambda method: psnr[method])
        panels.append(found[best])
        words.append(f"{best.split()[0]} {psnr[best]:.2f} dB")
    panels += [restored, target]
    words += [f"restored {measure(restored, target, border).psnr_y:.2f} dB", "target"]
    return panels, " | ".join(words)


RECIPE = Recipe(
    runs=(
        RestorationRun(
            name="IPT",
            config_file="configs/IPT/ipt_tiny_images.yaml",
            task="restoration",
            metrics={},
            seeds={
                "shapes_images_val_sr_x2/restoration/PSNR_Y-sr_x2": (26.01, 26.05, 26.06),
                "shapes_images_val_denoise_30/restoration/PSNR_Y-denoise_30": (30.47, 30.45, 30.51),
            },
            processes=2,
        ),
    ),
    write_data=write_restoration_images,
    folder="shapes_images",
    splits={"train": 800, "val": 40},
    spec=RestorationSpec(),
    noun="images",
    summary=(
        "IPT enlarges images and removes noise by one model with a head, a tail and a query for each "
        "task. Each picture shows an image of the validation split, which the model never saw: the "
        "input, the best baseline on this very image (a bicubic or a bilateral filter), what IPT "
        "makes of it, and the ground truth. The images are the first ones of the split, not the best."
    ),
    scale=2,
)

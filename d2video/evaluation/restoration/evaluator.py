"""Evaluation of image restoration while the model runs: PSNR and SSIM, beside what needs no learning."""

import csv
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import MetadataCatalog
from tabulate import tabulate

from d2video.evaluation.base import GatheringEvaluator
from d2video.evaluation.restoration.baselines import BILATERAL, baselines
from d2video.evaluation.restoration.metrics import Measures, measure, quantize
from d2video.formats.paths import leaves_folder
from d2video.structures.answers import RestoredAnswer
from d2video.utils.errors import UserError
from d2video.utils.files import replace_on_success
from d2video.video.image_writer import ImageFileWriter

logger = logging.getLogger(__name__)

TABLE_NAME = "images.csv"
# Of Measures. A "-" in a key would keep it out of the line for copying that detectron2 logs.
NAMES = ("PSNR_Y", "PSNR_RGB", "SSIM")
MODEL = ""  # in place of the name of a baseline

# Measures of an image by method: MODEL, or the name of a baseline.
ByMethod = dict[str, Measures]


def measured_task(given: Mapping[str, Any]) -> str:
    """The name under which an input's measures stand: ``measured_as`` where given, else ``task``.

    They differ where a model does a task that it lacks by another one.
    """
    return given.get("measured_as", given["task"])


class RestorationEvaluator(GatheringEvaluator[tuple[str, str], ByMethod, RestoredAnswer]):
    """PSNR of luma and RGB and SSIM of luma: means over all images and over those of each task.

    Restored images are quantised to 8 bits first. At each border as many pixels are left out as the
    scale of super-resolution; none at scale 1. The file ``images.csv`` has a row for each image.

    Baselines are bicubic enlargement for a task ``sr_…``, else the degraded image itself and, for
    ``denoise_…``, a bilateral filter with the settings that are best on these images.

    An input has ``image`` (3,h,w), ``target`` (3,s·h,s·w), both RGB, 0..255; ``task``, ``file_name``
    and, optionally, ``measured_as``, see :func:`measured_task`. An answer has ``restored``, float
    (3,s·h,s·w), 0..255.

    The results ``restoration`` are ``PSNR_Y`` and ``PSNR_RGB`` in dB, ``SSIM``; by task,
    ``PSNR_Y-<task>``, …; and of its baselines ``<baseline>-PSNR_Y-<task>``, … Images too small for
    SSIM do not count in its mean.
    """

    name = "restoration"
    noun = "image"
    answer_key, answer_noun = "restored", "restored images"
    unique_id = "file name"

    def __init__(
        self,
        output_dir: str,
        *,
        source: str,
        baselines: bool = True,
        save_images: bool = False,
        image_root: str = "",
    ) -> None:
        """
        Args:
            output_dir: folder for ``images.csv`` and ``restored/<task>/``.
            source: what messages call the data.
            baselines: measure the baselines as well.
            save_images: write the restored images, as PNG, to where the images lie below
                ``image_root``; images that are not PNG files get ".png" after their names.
            image_root: folder of the images; "": they have names of their own.
        """
        self._output_dir = Path(output_dir)
        self._with_baselines = baselines
        self._save_images = save_images
        self._image_root = image_root
        super().__init__(source)

    @classmethod
    def from_dataset(cls, dataset_name: str, output_dir: str) -> "RestorationEvaluator":
        """The evaluator of a registered dataset, whose metadata may have ``image_root`` and
        ``restoration_evaluator``, a dict with ``baselines`` and ``save_images``."""
        metadata = MetadataCatalog.get(dataset_name)
        return cls(
            output_dir,
            source=f"dataset {dataset_name}",
            image_root=metadata.get("image_root", ""),
            **metadata.get("restoration_evaluator", {}),
        )

    def _key(self, given: Mapping[str, Any]) -> tuple[str, str]:
        return measured_task(given), str(given["file_name"])

    def _describe(self, key: tuple[str, str], kept: Any = None) -> str:
        task, file_name = key
        return f"{file_name} ({task})"

    def _keep(self, given: Mapping[str, Any], answer: RestoredAnswer) -> ByMethod:
        """
        Raises:
            UserError: ``restored`` has another size than the target, or holds values that are not
                finite; or an image is all border.
        """
        task, file_name = key = self._key(given)
        where = f"{self._source}: {self._describe(key)}"
        restored, target, image = answer["restored"], given["target"], given["image"]
        if restored.shape != target.shape:
            raise UserError(
                f"{where}: the restored image has {_size(restored)} pixels, the true one "
                f"{_size(target)}: use a dataset with the scale of the model's task"
            )
        if not restored.isfinite().all():
            raise UserError(
                f"{where}: the restored image holds values that are not finite: training has "
                "diverged or the weights are damaged; use another checkpoint"
            )
        scale = target.shape[-1] // image.shape[-1]
        border = scale if scale > 1 else 0
        if min(target.shape[-2:]) <= 2 * border:
            raise UserError(
                f"{where}: an image of {_size(target)} pixels is too small to measure "
                f"without {border} pixels at each border: leave it out of the dataset"
            )
        measures = {MODEL: measure(restored, target, border)}
        if self._with_baselines:
            size = tuple(target.shape[-2:])
            others = baselines(image, size, denoises=task.startswith("denoise"))
            measures |= {name: measure(each, target, border) for name, each in others.items()}
        if self._save_images:
            with ImageFileWriter(self._path_of(task, file_name)) as writer:
                pixels = quantize(restored).byte().permute(1, 2, 0)
                writer.write(np.ascontiguousarray(pixels.cpu().numpy()))
        return measures

    def _path_of(self, task: str, file_name: str) -> Path:
        name = os.path.basename(file_name)
        if self._image_root:
            below = os.path.relpath(file_name, self._image_root)
            name = name if leaves_folder(below) else below
        suffix = "" if name.lower().endswith(".png") else ".png"
        return self._output_dir / "restored" / task / f"{name}{suffix}"

    def by_task(self, kept: Mapping[tuple[str, str], ByMethod]) -> dict[str, dict[str, ByMethod]]:
        """Group by task and file name; of the bilateral filters keep the best one of each task."""
        by_task: dict[str, dict[str, ByMethod]] = {}
        for (task, file_name), measures in kept.items():
            by_task.setdefault(task, {})[file_name] = measures
        return {task: _best_bilateral(task, images) for task, images in by_task.items()}

    def _score(self, kept: dict[tuple[str, str], ByMethod]) -> dict[str, float]:
        if not kept:
            return {}
        by_task = self.by_task(kept)
        self._write(by_task)
        results = dict(zip(NAMES, _means([each[MODEL] for each in kept.values()]), strict=True))
        rows = []
        for task, images in by_task.items():
            for method in next(iter(images.values())):
                means = _means([each[method] for each in images.values()])
                prefix = f"{method}-" if method else ""
                results |= {
                    f"{prefix}{name}-{task}": value
                    for name, value in zip(NAMES, means, strict=True)
                }
                rows.append((task, method or "model", *means, len(images)))
        columns = ("task", "method", *NAMES, "images")
        formats = ("", "", *[".4f"] * 3)
        logger.info("%s:\n%s", self._source, tabulate(rows, columns, "pipe", floatfmt=formats))
        return results

    def _write(self, by_task: Mapping[str, Mapping[str, ByMethod]]) -> None:
        """A row for each image; columns of methods that its task does not have stay empty."""
        rows = [(task, *item) for task, images in by_task.items() for item in images.items()]
        methods = list(dict.fromkeys(method for *_, measures in rows for method in measures))
        head = [f"{method} {name}".strip() for method in methods for name in NAMES]
        path = self._output_dir / TABLE_NAME
        with (
            replace_on_success(path) as partial,
            open(partial, "w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file, lineterminator=os.linesep)
            writer.writerow(["task", "file_name", *head])
            for task, file_name, measures in rows:
                cells = [measures.get(method, [""] * len(NAMES)) for method in methods]
                writer.writerow([task, file_name, *(v for cell in cells for v in cell)])
        logger.info("Wrote the measures of %d images to %s", len(rows), path)


def _means(measures: Sequence[Measures]) -> list[float]:
    """Of each measure over the images that have it; nan where none has."""
    table = np.array(measures)
    return [
        float(column[~np.isnan(column)].mean()) if not np.isnan(column).all() else math.nan
        for column in table.T
    ]


def _best_bilateral(task: str, images: dict[str, ByMethod]) -> dict[str, ByMethod]:
    """The images of a task with one bilateral filter, that of the highest mean PSNR-Y."""
    settings = [m for m in next(iter(images.values())) if m.startswith(BILATERAL)]
    if not settings:
        return images
    best = max(settings, key=lambda m: _means([each[m] for each in images.values()])[0])
    logger.info("%s: the best bilateral filter has sigmas %s", task, best.removeprefix(BILATERAL))
    return {
        file_name: {m: v for m, v in each.items() if m not in settings} | {BILATERAL: each[best]}
        for file_name, each in images.items()
    }


def _size(image: Any) -> str:
    return f"{image.shape[-1]}x{image.shape[-2]}"

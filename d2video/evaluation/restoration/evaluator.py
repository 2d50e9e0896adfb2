"""Evaluation of image restoration while the model runs: PSNR and SSIM, beside what needs no learning."""

import csv
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from detectron2.data import MetadataCatalog
from tabulate import tabulate

from d2video.evaluation.gather import GatheringEvaluator
from d2video.evaluation.restoration.baselines import BILATERAL, baselines
from d2video.evaluation.restoration.metrics import Measures, measure, quantize
from d2video.formats.paths import leaves_folder
from d2video.structures.answers import RestoredAnswer
from d2video.utils.errors import UserError
from d2video.utils.files import replace_on_success
from d2video.video.image_writer import ImageFileWriter

logger = logging.getLogger(__name__)

TABLE_NAME = "images.csv"
NAMES = {"psnr_y": "PSNR-Y", "psnr_rgb": "PSNR-RGB", "ssim": "SSIM"}
_MODEL = ""


class Restored(NamedTuple):
    """What is kept of one image.

    Attributes:
        task: name of what it was measured as.
        file_name: of the image.
        measures: by method: "" is the model, the others are baselines.
    """

    task: str
    file_name: str
    measures: dict[str, Measures]


def measured_task(given: Mapping[str, Any]) -> str:
    """The name under which an input's measures stand: ``measured_as`` where given, else ``task``.

    They differ where a model does a task that it lacks by another one.
    """
    return given.get("measured_as", given["task"])


class RestorationEvaluator(GatheringEvaluator[tuple[str, str], Restored, RestoredAnswer]):
    """PSNR of luma and RGB and SSIM of luma, means over the images; of each task, too.

    Restored images are quantised to 8 bits first. As many pixels as the scale of super-resolution are
    left out at each border, none at scale 1. The file ``images.csv`` has a row for each image.

    With baselines, a task "sr_…" is compared with bicubic enlargement, all others with the degraded
    image itself, "denoise_…" also with a bilateral filter, whose settings are those that are best
    on these very images.

    An input has ``image`` (3,h,w), ``target`` (3,s·h,s·w), both RGB, 0..255; ``task``, ``file_name``
    and, optionally, ``measured_as``, see :func:`measured_task`. An answer has ``restored``, float
    (3,s·h,s·w), 0..255.

    The results ``restoration`` are ``PSNR-Y`` and ``PSNR-RGB`` in dB, ``SSIM``; by task,
    ``PSNR-Y-<task>``, …; and of its baselines ``<baseline>-PSNR-Y-<task>``, … Images too small for
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
        """The evaluator of a registered data set, whose metadata may have ``image_root`` and
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

    def _keep(self, given: Mapping[str, Any], answer: RestoredAnswer) -> Restored:
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
                f"{_size(target)}: the data set's scale is not that of the model's task"
            )
        if not restored.isfinite().all():
            raise UserError(
                f"{where}: the restored image holds values that are not finite: the training "
                "has diverged, or the weights are damaged"
            )
        scale = target.shape[-1] // image.shape[-1]
        border = scale if scale > 1 else 0
        if min(target.shape[-2:]) <= 2 * border:
            raise UserError(
                f"{where}: of an image of {_size(target)} pixels nothing is left to measure "
                f"without {border} at each border: leave it out of the data set"
            )
        measures = {_MODEL: measure(restored, target, border)}
        if self._with_baselines:
            size = (target.shape[-2], target.shape[-1])
            others = baselines(image, size, denoises=task.startswith("denoise"))
            measures |= {name: measure(each, target, border) for name, each in others.items()}
        if self._save_images:
            with ImageFileWriter(self._path_of(task, file_name)) as writer:
                pixels = quantize(restored).byte().permute(1, 2, 0)
                writer.write(np.ascontiguousarray(pixels.cpu().numpy()))
        return Restored(task, file_name, measures)

    def _path_of(self, task: str, file_name: str) -> Path:
        name = os.path.basename(file_name)
        if self._image_root:
            below = os.path.relpath(file_name, self._image_root)
            name = name if leaves_folder(below) else below
        suffix = "" if name.lower().endswith(".png") else ".png"
        return self._output_dir / "restored" / task / f"{name}{suffix}"

    def _score(self, kept: dict[tuple[str, str], Restored]) -> dict[str, float]:
        if not kept:
            return {}
        by_task: dict[str, list[Restored]] = {}
        for each in kept.values():
            by_task.setdefault(each.task, []).append(each)
        by_task = {task: _best_bilateral(task, group) for task, group in by_task.items()}
        self._write([each for group in by_task.values() for each in group])
        everything = [each.measures[_MODEL] for group in by_task.values() for each in group]
        results = dict(zip(NAMES.values(), _means(everything), strict=True))
        rows = []
        for task, group in by_task.items():
            for method in group[0].measures:
                means = _means([each.measures[method] for each in group])
                prefix = f"{method}-" if method else ""
                results |= {
                    f"{prefix}{name}-{task}": value
                    for name, value in zip(NAMES.values(), means, strict=True)
                }
                rows.append((task, method or "model", *means, len(group)))
        columns = ("task", "method", *NAMES.values(), "images")
        formats = ("", "", *[".4f"] * 3)
        logger.info("%s:\n%s", self._source, tabulate(rows, columns, "pipe", floatfmt=formats))
        return results

    def _write(self, images: Sequence[Restored]) -> None:
        """A row for each image; columns of methods that its task does not have stay empty."""
        methods = list(dict.fromkeys(method for each in images for method in each.measures))
        head = [f"{method} {name}".strip() for method in methods for name in NAMES.values()]
        path = self._output_dir / TABLE_NAME
        with (
            replace_on_success(path) as partial,
            open(partial, "w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file, lineterminator=os.linesep)
            writer.writerow(["task", "file_name", *head])
            for each in images:
                cells = [each.measures.get(method, [""] * len(NAMES)) for method in methods]
                writer.writerow([each.task, each.file_name, *(v for cell in cells for v in cell)])
        logger.info("Wrote the measures of %d images to %s", len(images), path)


def _means(measures: Sequence[Measures]) -> list[float]:
    """Of each measure over the images that have it; nan where none has."""
    table = np.array(measures)
    return [
        float(column[~np.isnan(column)].mean()) if not np.isnan(column).all() else math.nan
        for column in table.T
    ]


def _best_bilateral(task: str, images: Sequence[Restored]) -> list[Restored]:
    """The images of a task with one bilateral filter, that of the highest mean PSNR-Y."""
    settings = [name for name in images[0].measures if name.startswith(BILATERAL)]
    if not settings:
        return list(images)
    best = max(settings, key=lambda name: _means([each.measures[name] for each in images])[0])
    logger.info("%s: the best bilateral filter has sigmas %s", task, best.removeprefix(BILATERAL))
    kept = []
    for each in images:
        measures = {k: v for k, v in each.measures.items() if k not in settings}
        kept.append(each._replace(measures=measures | {BILATERAL: each.measures[best]}))
    return kept


def _size(image: Any) -> str:
    return f"{image.shape[-1]}x{image.shape[-2]}"

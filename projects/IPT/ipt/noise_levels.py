"""How well a denoising model restores noise levels that it was not trained on."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from d2video.projects.ipt.restoration_mapper import RestorationMapper
from d2video.projects.ipt.tasks import parse_tasks
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from tqdm import tqdm

from d2video.checkpoint import VideoCheckpointer
from d2video.evaluation.restoration.evaluator import NAMES, RestorationEvaluator
from d2video.utils.errors import UserError


@torch.no_grad()
def evaluate(
    cfg: CfgNode, records: Sequence[dict], sigmas: Sequence[int], names: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Figures of ``MODEL.WEIGHTS`` by kind of noise, task and level; the figures of each image are
    written below OUTPUT_DIR.

    Args:
        records: of clean images.
        sigmas: standard deviations of the noise, of 0..255.
        names: of the tasks that restore; empty: all that denoise.

    Returns:
        "task", "sigma", "clamped" (noisy images are cut to 0..255; these rows come first) and
        "<method> <measure>", means over the images.

    Raises:
        UserError: the model has no such task, or its weights do not fit.
    """
    if cfg.MODEL.META_ARCHITECTURE != "IPT":
        raise UserError(f"{cfg.MODEL.META_ARCHITECTURE} does not denoise: give a config of IPT")
    tasks = parse_tasks(cfg.MODEL.IPT.TASKS)
    chosen = [t for t in tasks if (t.name in names if names else t.kind == "denoise")]
    if unknown := sorted(set(names) - {task.name for task in tasks}):
        raise UserError(f"MODEL.IPT.TASKS has no task {', '.join(unknown)}: correct --task")
    if not chosen or any(task.scale > 1 for task in chosen):
        raise UserError("give a model with a task denoise_<sigma>, or correct --task")
    model = build_model(cfg).eval()
    VideoCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)
    rows = []
    for clamp, task, sigma in product((True, False), chosen, sigmas):
        noise = f"denoise_{sigma}"
        mapper = RestorationMapper(
            False, tasks=tasks, clamp_noise=clamp, restore_as={noise: task.name}
        )
        name = f"{task.name}_on_{sigma}_{'clamped' if clamp else 'unclamped'}"
        folder = Path(cfg.OUTPUT_DIR) / "noise" / name
        evaluator = RestorationEvaluator(str(folder), source=f"noise of sigma {sigma}")
        for record in tqdm(records, desc=f"{task.name}, sigma {sigma}", unit="image", leave=False):
            item = mapper({**record, "task": noise})
            evaluator.process([item], model([item]))
        found = evaluator.evaluate()["restoration"]
        row: dict[str, Any] = {"task": task.name, "sigma": sigma, "clamped": clamp}
        for method, prefix in (("model", ""), ("input", "input-"), ("bilateral", "bilateral-")):
            for measure in NAMES:
                row[f"{method} {measure}"] = found[f"{prefix}{measure}-{noise}"]
        rows.append(row)
    return rows

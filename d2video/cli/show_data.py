"""Draw what the model is fed: training clips after sampling and augmentation, with their targets.

Each clip becomes one sheet: its frames in order, with masks, boxes, classes and track ids; each patch of
image restoration its input, enlarged, beside its target::

    tools/visualize_data.py --config-file configs/VisTR/vistr_tiny_shapes.yaml --num-clips 8
"""

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.structures import Instances
from detectron2.utils.env import seed_all_rng
from PIL import Image

from d2video.config import load_cfg
from d2video.data import build_train_loader
from d2video.projects import register_all
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.files import replace_on_success
from d2video.visualization.grid import arrange
from d2video.visualization.instances import draw_instances

_PATCH_SIDE = 256  # at most, of a patch that is shown enlarged


def draw_clip(
    sample: dict[str, Any], class_names: Sequence[str], columns: int, image_format: str = "RGB"
) -> np.ndarray:
    """One sheet with the frames of a mapped training clip.

    Args:
        sample: what a dataset mapper returned in training (docs/architecture.md).
        class_names: by contiguous class index.
        columns: frames in a row.
        image_format: order of the sample's channels, "RGB" or "BGR".

    Returns:
        uint8 array (rows * h, columns * w, 3), RGB; each frame carries its index in the video.
    """
    channels = slice(None) if image_format == "RGB" else slice(None, None, -1)
    cells = []
    for image, targets, index in zip(
        sample["image"], sample["instances"], sample["frame_indices"], strict=True
    ):
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy()[:, :, channels])
        cell = draw_instances(pixels, _as_predictions(targets), class_names, draw_boxes=True)
        cv2.rectangle(cell, (0, 0), (cell.shape[1] - 1, cell.shape[0] - 1), (255, 255, 255))
        place = (3, cell.shape[0] - 4)
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(cell, f"{index}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness)
        cells.append(cell)
    columns = min(columns, len(cells))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])


def draw_patch(sample: dict[str, Any]) -> np.ndarray:
    """One sheet of a patch for image restoration: uint8 (H,W,3), RGB; pixels are squares."""
    image, target = sample["image"], sample["target"]
    factor = target.shape[-1] // image.shape[-1]
    enlarged = image.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    return arrange([enlarged, target], max(1, _PATCH_SIDE // target.shape[-1]))


def _as_predictions(targets: Instances) -> Instances:
    """The objects present in one frame, under the field names that are drawn."""
    shown = targets[targets.gt_ids >= 0]
    return Instances(
        shown.image_size,
        pred_boxes=shown.gt_boxes,
        pred_classes=shown.gt_classes,
        pred_masks=shown.gt_masks.tensor,
        track_ids=shown.gt_ids,
    )


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--output-dir", default="output/visualize_data", type=Path)
    parser.add_argument("--num-clips", default=8, type=int, help="sheets, or patches, to draw")
    parser.add_argument("--columns", default=6, type=int, help="frames in a row of a sheet")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="config overrides: KEY VALUE ...")
    args = parser.parse_args(argv)
    if args.num_clips < 1 or args.columns < 1:
        raise UserError("--num-clips and --columns must be at least 1")

    register_all()
    cfg = load_cfg(args.config_file, args.opts)
    seed_all_rng(cfg.SEED if cfg.SEED >= 0 else None)

    loader = build_train_loader(cfg)
    class_names = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).get("thing_classes", ())
    samples = itertools.chain.from_iterable(loader)
    for i, sample in enumerate(itertools.islice(samples, args.num_clips)):
        if "target" in sample:
            sheet, name = draw_patch(sample), f"{sample['task']}.png"
        elif "frame_indices" in sample:
            sheet = draw_clip(sample, class_names, args.columns, cfg.INPUT.FORMAT)
            name = f"video_{sample['video_id']}.jpg"
        else:
            raise UserError(
                f"INPUT.DATASET_MAPPER {cfg.INPUT.DATASET_MAPPER} gives neither clips with objects "
                "nor patches to restore, which this tool draws: choose another config"
            )
        path = args.output_dir / f"{i:03d}_{name}"
        with replace_on_success(path) as partial:
            Image.fromarray(sheet).save(partial, quality=92)
        print(path)

"""What a model makes of a training sample, beside the sample's labels."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from d2video.inference.tasks.task import Task
from d2video.video.frame_names import image_stem
from d2video.video.frame_source import DEFAULT_FPS, Frame
from d2video.visualization.options import DrawingOptions
from d2video.visualization.samples import (
    captioned,
    draw_patch,
    label_cells,
    pixels_of,
    scale_of,
    sheet,
)

# Of a clip this many frames are drawn, evenly spread.
MOST_FRAMES = 6
_COLUMNS = 3
_LONG_SIDE = 1600  # pixels; larger pictures are made smaller


@torch.no_grad()
def draw_beside_labels(
    model: nn.Module,
    task: Task,
    sample: dict[str, Any],
    class_names: Sequence[str] | None,
    *,
    image_format: str = "RGB",
    score_threshold: float = 0.5,
) -> tuple[np.ndarray, str]:
    """One picture of a sample: its labels, and what the model answers. The longer side has at most 1600
    pixels, and of a clip six frames are shown.

    Args:
        model: in evaluation mode.
        task: of the model.
        sample: what a dataset mapper returned in training (docs/extend/architecture.md); its keys say
            what it is.
        class_names: by class index; None shows the index.
        image_format: order of the sample's channels, "RGB" or "BGR".
        score_threshold: predictions with a lower score are not drawn.

    Returns:
        uint8 array (H,W,3), RGB, and a name without suffix.

    Raises:
        UserError: the sample holds no pictures.
    """
    if "target" in sample:
        # Called as in the evaluation: a stream has one task for all.
        restored = model([sample])[0]["restored"]
        name = f"{image_stem(sample['file_name'])}_{sample['task']}"
        return _bounded(draw_patch(sample, restored)), name
    labels, name = label_cells(sample, class_names, image_format)
    frames = _frames_of(sample)
    pixels = [pixels_of(frame, image_format) for frame in frames]
    size = (frames[0].shape[-2], frames[0].shape[-1])
    options = DrawingOptions(scale=scale_of(*size), score_threshold=score_threshold)
    draw = task.drawer(class_names, options)
    if len(frames) == 1 and task.takes_images:
        found: Any = [task.answer_image(model, frames[0], size)]  # type: ignore[arg-type]
        asked = [Frame(0, 0.0, pixels[0], image_stem(name))]
    else:
        found = model.stream_video(iter(frames), output_size=size)  # type: ignore[operator]
        asked = [Frame(k, k / DEFAULT_FPS, image) for k, image in enumerate(pixels)]
    answers = [draw(task.read(frame, answer)) for frame, answer in zip(asked, found, strict=True)]
    if "label" in sample:
        answers = answers[-1:]  # of the whole video
    chosen, drawn = _spread(labels), _spread(answers)
    if "label" not in sample:  # a panel of classes says it
        drawn[0] = captioned(np.ascontiguousarray(drawn[0]), "predicted")
    parts = [sheet(chosen, _COLUMNS), sheet(drawn, _COLUMNS)]
    return _bounded(_joined(parts, beside=len(chosen) == 1)), image_stem(name)


def _frames_of(sample: dict[str, Any]) -> list[Tensor]:
    """The frames (3,h,w) in order, or the image."""
    if "previous" in sample:
        return [*(each["image"] for each in reversed(sample["previous"])), sample["image"]]
    image = sample["image"]
    return [image] if isinstance(image, Tensor) and image.dim() == 3 else [*image]


def _spread(cells: list[np.ndarray]) -> list[np.ndarray]:
    places = np.linspace(0, len(cells) - 1, min(len(cells), MOST_FRAMES)).round().astype(int)
    return [cells[place] for place in places]


def _joined(parts: list[np.ndarray], beside: bool) -> np.ndarray:
    """Pictures side by side or one below the other, on black."""
    across = 0 if beside else 1  # the axis along which they are made equal
    length = max(part.shape[across] for part in parts)
    padded = []
    for part in parts:
        widths = [(0, 0)] * 3
        widths[across] = (0, length - part.shape[across])
        padded.append(np.pad(part, widths))
    return np.concatenate(padded, axis=1 - across)


def _bounded(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    factor = _LONG_SIDE / max(height, width)
    if factor >= 1:
        return picture
    size = (round(width * factor), round(height * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)

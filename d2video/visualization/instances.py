"""Draw instances on video frames, in a small part of the time that a model takes.

detectron2's visualizer takes a large part of a second for a frame, through matplotlib, and gives an
object another colour in each. Here the colour is the track's, and OpenCV draws small rectangles.
"""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from detectron2.structures import Instances

from d2video.visualization.primitives import (
    draw_label,
    enlarge,
    fill_mask,
    label_of_class,
    outline_mask,
    track_colour,
)
from d2video.visualization.trails import TrailHistory, draw_trails

OPACITY = 0.45  # of the mask fill


def draw_instances(
    image: np.ndarray,
    instances: Instances,
    class_names: Sequence[str] | None = None,
    *,
    draw_boxes: bool = False,
    scale: int = 1,
    trails: TrailHistory | None = None,
) -> np.ndarray:
    """Draw masks, contours, trails, boxes and labels.

    Args:
        image: uint8 (H,W,3), RGB; stays as it is.
        instances: detectron2's, of image size (H,W), on any device. Drawn are those of its fields
            that exist: ``pred_masks`` (bool N,H,W), ``pred_boxes`` (XYXY, pixels), ``scores``,
            ``pred_classes`` and ``track_ids``, which also choose the colours (else the row).
        class_names: by class index; ``None`` shows the index.
        draw_boxes: draw the boxes of instances that have masks too.
        scale: whole number to enlarge everything by first, so that labels do not cover small
            frames.
        trails: the tracks' paths up to this frame, already added.

    Returns:
        uint8 (scale·H, scale·W, 3), RGB.

    Raises:
        UserError: a class has no name in ``class_names``.
    """
    assert instances.image_size == image.shape[:2], (instances.image_size, image.shape)
    canvas = enlarge(image, scale)
    instances = instances.to("cpu")
    ids = instances.track_ids.tolist() if instances.has("track_ids") else range(len(instances))
    colours = [track_colour(track_id) for track_id in ids]
    texts = _label_texts(instances, class_names)
    boxes = scale * instances.pred_boxes.tensor.numpy() if instances.has("pred_boxes") else None
    masks = None
    if instances.has("pred_masks"):
        masks = np.ascontiguousarray(instances.pred_masks.bool().numpy()).view(np.uint8)
        if scale > 1:
            masks = masks.repeat(scale, axis=1).repeat(scale, axis=2)
    thickness = max(1, round(min(canvas.shape[:2]) / 360))

    # Layer by layer, so that no fill covers an outline and no outline a label. Anchors are the
    # (x, y) of each object's top left.
    anchors: list[tuple[int, int] | None] = [None] * len(instances)
    if masks is not None:
        rectangles = [cv2.boundingRect(mask) for mask in masks]
        for mask, rectangle, colour in zip(masks, rectangles, colours, strict=True):
            fill_mask(canvas, mask, rectangle, colour, OPACITY)
        for mask, rectangle, colour in zip(masks, rectangles, colours, strict=True):
            outline_mask(canvas, mask, rectangle, colour, thickness)
        anchors = [(x, y) if width else None for x, y, width, _ in rectangles]
    if trails is not None:
        draw_trails(canvas, trails, 2 * thickness, scale=scale)
    if boxes is not None and (draw_boxes or masks is None):
        corners = boxes.round().astype(int).tolist()
        for (x0, y0, x1, y1), colour in zip(corners, colours, strict=True):
            cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, thickness, cv2.LINE_AA)
        anchors = [(x0, y0) for x0, y0, _, _ in corners]

    for text, colour, anchor in zip(texts, colours, anchors, strict=True):
        if text and anchor is not None:
            draw_label(canvas, text, colour, anchor)
    return canvas


def _label_texts(instances: Instances, class_names: Sequence[str] | None) -> list[str]:
    """``"class 0.93 #4"`` for each instance, without the parts that its fields do not give."""
    texts: dict[str, Callable[[Any], str]] = {
        "pred_classes": lambda index: label_of_class(index, class_names),
        "scores": lambda score: f"{score:.2f}",
        "track_ids": lambda track_id: f"#{track_id}",
    }
    columns = [
        [text(value) for value in instances.get(field).tolist()]
        for field, text in texts.items()
        if instances.has(field)
    ]
    return [" ".join(row) for row in zip(*columns)] if columns else [""] * len(instances)

"""Draw instances on video frames, in a small part of the time that a model takes.

detectron2's visualizer takes a large part of a second for a frame, through matplotlib, and gives an
object another colour in each. Here the colour is the track's, and OpenCV draws small rectangles.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from detectron2.structures import Instances

from d2video.visualization.labels import Label, LabelPlaces, draw_labels
from d2video.visualization.options import DrawingOptions
from d2video.visualization.primitives import (
    enlarge,
    fill_mask,
    label_font_size,
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
    options: DrawingOptions | None = None,
    *,
    trails: TrailHistory | None = None,
    places: LabelPlaces | None = None,
) -> np.ndarray:
    """Draw masks, contours, trails, boxes and labels.

    Args:
        image: uint8 (H,W,3), RGB; stays as it is.
        instances: detectron2's, of image size (H,W), on any device. Drawn are those of its fields
            that exist: ``pred_masks`` (bool N,H,W), ``pred_boxes`` (XYXY, pixels), ``scores``,
            ``pred_classes`` and ``track_ids``, which also choose the colours (else the row).
        class_names: by class index; ``None`` shows the index.
        options: how to draw; all instances are drawn, whatever their score.
        trails: the tracks' paths up to this frame, already added.
        places: of the labels in the frame before; changed.

    Returns:
        uint8 (scale·H, scale·W, 3), RGB.

    Raises:
        UserError: a class has no name in ``class_names``.
    """
    assert instances.image_size == image.shape[:2], (instances.image_size, image.shape)
    options = options or DrawingOptions()
    scale = options.scale
    canvas = enlarge(image, scale)
    instances = instances.to("cpu")
    ids = instances.track_ids.tolist() if instances.has("track_ids") else range(len(instances))
    colours = [track_colour(track_id) for track_id in ids]
    boxes: list[Sequence[int]] | None = None
    if instances.has("pred_boxes"):
        boxes = (scale * instances.pred_boxes.tensor.numpy()).round().astype(int).tolist()
    shows_masks = options.masks and instances.has("pred_masks")
    wants_boxes = not shows_masks if options.draw_boxes is None else options.draw_boxes
    shows_boxes = wants_boxes and boxes is not None
    thickness = options.line_width or max(1, round(min(canvas.shape[:2]) / 360))

    # Layer by layer, so that no fill covers an outline and no outline a label.
    extents = boxes  # which the labels stand beside; None: of an empty mask
    if shows_masks:
        shapes = np.ascontiguousarray(instances.pred_masks.bool().numpy()).view(np.uint8)
        if scale > 1:
            shapes = shapes.repeat(scale, axis=1).repeat(scale, axis=2)
        rectangles = [cv2.boundingRect(shape) for shape in shapes]
        opacity = OPACITY if options.opacity is None else options.opacity
        for shape, rectangle, colour in zip(shapes, rectangles, colours, strict=True):
            fill_mask(canvas, shape, rectangle, colour, opacity)
        for shape, rectangle, colour in zip(shapes, rectangles, colours, strict=True):
            outline_mask(canvas, shape, rectangle, colour, thickness)
        if not shows_boxes:
            extents = [(x, y, x + width, y + height) for x, y, width, height in rectangles]
    if trails is not None:
        draw_trails(canvas, trails, 2 * thickness, scale=scale)
    if shows_boxes:
        for (x0, y0, x1, y1), colour in zip(boxes or (), colours, strict=True):
            cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, thickness, cv2.LINE_AA)
    if options.labels and extents is not None:
        rows = zip(_label_texts(instances, class_names), colours, extents, ids, strict=True)
        texts = [
            Label(text, colour, extent, track_id, tail)
            for (text, tail), colour, extent, track_id in rows
            if text and (shows_boxes or extent[2] > extent[0])
        ]
        font_size = label_font_size(canvas, options.label_size)
        draw_labels(canvas, texts, font_size, places=places if instances.has("track_ids") else None)
    return canvas


def _label_texts(instances: Instances, class_names: Sequence[str] | None) -> list[tuple[str, str]]:
    """``("class", " 0.93 #4")`` for each instance, without the parts that its fields do not give."""
    tails = [""] * len(instances)
    for field, form in (("scores", " {:.2f}"), ("track_ids", " #{}")):
        if instances.has(field):
            values = instances.get(field).tolist()
            tails = [tail + form.format(value) for tail, value in zip(tails, values, strict=True)]
    if not instances.has("pred_classes"):
        return [(tail.strip(), "") for tail in tails]
    names = [label_of_class(index, class_names) for index in instances.pred_classes.tolist()]
    return list(zip(names, tails, strict=True))

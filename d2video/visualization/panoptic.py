"""Draw panoptic maps: every pixel in the colour of its segment, a label on each."""

from collections.abc import Sequence

import cv2
import numpy as np

from d2video.structures.answers import PanopticMap
from d2video.visualization.labels import AROUND, Label, LabelPlaces, draw_labels
from d2video.visualization.options import DrawingOptions
from d2video.visualization.primitives import (
    crop,
    enlarge,
    fill_mask,
    label_font_size,
    label_of_class,
    outline_mask,
    track_colour,
)
from d2video.visualization.trails import TrailHistory, draw_trails

OPACITY = 0.55  # of the fill


def draw_panoptic(
    image: np.ndarray,
    panoptic_seg: PanopticMap,
    class_names: Sequence[str] | None = None,
    options: DrawingOptions | None = None,
    *,
    trails: TrailHistory | None = None,
    places: LabelPlaces | None = None,
) -> np.ndarray:
    """Draw the segments' areas, outlines and class names.

    The things of a picture have different colours; those with a ``track_id`` have their track's and
    show it. Stuff has the muted colour of its class.

    Args:
        image: uint8 (H,W,3), RGB; stays as it is.
        panoptic_seg: of size (H,W), on any device.
        class_names: by class index, of things and stuff; ``None`` shows the index.
        options: how to draw; boxes are those of the things.
        trails: of the things, up to this frame.
        places: of the labels in the frame before; changed.

    Returns:
        uint8 (scale·H, scale·W, 3), RGB.

    Raises:
        UserError: a class has no name in ``class_names``.
    """
    options = options or DrawingOptions()
    scale = options.scale
    ids = panoptic_seg[0].cpu().numpy()
    assert ids.shape == image.shape[:2], (ids.shape, image.shape)
    canvas = enlarge(image, scale)
    ids = ids.repeat(scale, axis=0).repeat(scale, axis=1)
    thickness = options.line_width or max(1, round(min(ids.shape) / 480))

    opacity = OPACITY if options.opacity is None else options.opacity
    num_things = 0
    found = []
    for segment in panoptic_seg[1]:
        text = label_of_class(segment["category_id"], class_names)
        if "track_id" in segment:
            text = f"{text} #{segment['track_id']}"
            colour = track_colour(segment["track_id"])
        elif segment["isthing"]:
            colour = track_colour(num_things)
            num_things += 1
        else:
            colour = stuff_colour(segment["category_id"])
        mask = (ids == segment["id"]).view(np.uint8)
        rectangle = cv2.boundingRect(mask)
        if rectangle[2] == 0:
            continue
        # Segments do not overlap: the fill of one covers no outline of another.
        fill_mask(canvas, mask, rectangle, colour, opacity)
        outline_mask(canvas, mask, rectangle, colour, thickness)
        if options.draw_boxes and segment["isthing"]:
            x, y, width, height = rectangle
            corner = (x + width, y + height)
            cv2.rectangle(canvas, (x, y), corner, colour, thickness, cv2.LINE_AA)
        found.append(Label(text, colour, _innermost(mask, rectangle) * 2, segment.get("track_id")))
    if trails is not None:
        draw_trails(canvas, trails, 2 * thickness, scale=scale)
    if options.labels:
        font_size = label_font_size(canvas, options.label_size)
        draw_labels(canvas, found, font_size, where=AROUND, places=places)
    return canvas


def stuff_colour(category_id: int) -> tuple[int, int, int]:
    """The RGB colour (0 to 255) of a stuff class: half way from that of a track to dark grey."""
    red, green, blue = track_colour(category_id)
    return (red + 80) // 2, (green + 80) // 2, (blue + 80) // 2


def _innermost(mask: np.ndarray, rectangle: Sequence[int]) -> tuple[int, int]:
    """The (x, y) of the mask farthest from its border: the place for its label."""
    part = np.pad(crop(mask, rectangle), 1)  # the border of the image counts as one
    distance = cv2.distanceTransform(part, cv2.DIST_L2, 3)
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    return rectangle[0] + int(column) - 1, rectangle[1] + int(row) - 1

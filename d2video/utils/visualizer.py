"""Draw predictions on video frames, fast enough to be no part of the cost.

detectron2's own visualizer goes through matplotlib, takes a large part of a second for a frame and
gives an object another colour in each. Here the colour belongs to the track, each object touches
only its own rectangle, and OpenCV does the pixels.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from detectron2.structures import Instances
from PIL import Image, ImageDraw, ImageFont

from d2video.utils.errors import UserError

_NUM_COLOURS = 48


def draw_instances(
    image: np.ndarray,
    instances: Instances,
    class_names: Sequence[str] | None = None,
    *,
    alpha: float = 0.45,
    score_threshold: float = 0.0,
    draw_boxes: bool = False,
    scale: int = 1,
) -> np.ndarray:
    """Draw masks, contours, boxes and labels.

    Args:
        image: uint8 (H,W,3), RGB; stays as it is.
        instances: detectron2's, of image size (H,W), on any device. Drawn are those of its fields
            that exist: ``pred_masks`` (bool N,H,W), ``pred_boxes`` (XYXY, pixels), ``scores``,
            ``pred_classes`` and ``track_ids``, which also choose the colours (else the row does).
        class_names: by class index; ``None`` shows the index.
        alpha: opacity of the mask fill, 0 to 1.
        score_threshold: instances with a lower score are left out.
        draw_boxes: draw the boxes of instances that have masks too.
        scale: whole number to enlarge everything by first, so that labels do not cover small
            frames.

    Returns:
        uint8 (scale·H, scale·W, 3), RGB.

    Raises:
        UserError: a class has no name in ``class_names``.
    """
    assert instances.image_size == image.shape[:2], (instances.image_size, image.shape)
    height, width = (scale * side for side in image.shape[:2])
    canvas = cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=cv2.INTER_CUBIC)
    instances = instances.to("cpu")
    if instances.has("scores"):
        instances = instances[instances.scores >= score_threshold]
    if len(instances) == 0:
        return canvas

    ids = instances.track_ids.tolist() if instances.has("track_ids") else range(len(instances))
    colours = [track_colour(track_id) for track_id in ids]
    texts = _label_texts(instances, class_names)
    boxes = scale * instances.pred_boxes.tensor.numpy() if instances.has("pred_boxes") else None
    masks = None
    if instances.has("pred_masks"):
        masks = np.ascontiguousarray(instances.pred_masks.bool().numpy()).view(np.uint8)
        if scale > 1:
            masks = masks.repeat(scale, axis=1).repeat(scale, axis=2)
    thickness = max(1, round(min(height, width) / 360))

    # Layer by layer, so that no fill covers an outline and no outline a label. Anchors are the
    # (x, y) of each object's top left.
    anchors: list[tuple[int, int] | None] = [None] * len(instances)
    if masks is not None:
        rectangles = [cv2.boundingRect(mask) for mask in masks]
        for mask, rectangle, colour in zip(masks, rectangles, colours, strict=True):
            _fill_mask(canvas, mask, rectangle, colour, alpha)
        for mask, rectangle, colour in zip(masks, rectangles, colours, strict=True):
            _outline_mask(canvas, mask, rectangle, colour, thickness)
        anchors = [(x, y) if width else None for x, y, width, _ in rectangles]
    if boxes is not None and (draw_boxes or masks is None):
        corners = boxes.round().astype(int).tolist()
        for (x0, y0, x1, y1), colour in zip(corners, colours, strict=True):
            cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, thickness, cv2.LINE_AA)
        anchors = [(x0, y0) for x0, y0, _, _ in corners]

    font_size = max(11, round(min(height, width) / 36))
    for text, colour, anchor in zip(texts, colours, anchors, strict=True):
        if text and anchor is not None:
            _draw_label(canvas, text, colour, anchor, font_size)
    return canvas


def track_colour(track_id: int) -> tuple[int, int, int]:
    """The RGB colour (0 to 255) of a track; neighbouring ids differ clearly."""
    return _palette()[track_id % _NUM_COLOURS]


@functools.lru_cache(maxsize=1)
def _palette() -> list[tuple[int, int, int]]:
    """Colours chosen one by one, each as far as possible from those before it in CIELAB.

    Only lively colours of middle lightness take part: they stand out from photographs.
    """
    levels = np.linspace(0, 1, 14, dtype=np.float32)
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(1, -1, 3)
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[0]
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    lively = (lightness > 45) & (lightness < 88) & (chroma > 45)
    rgb, lab = rgb[0][lively], lab[lively]

    chosen = [int(np.abs(rgb - np.array([0.15, 0.55, 1.0])).sum(1).argmin())]
    distance = np.full(len(lab), np.inf)
    for _ in range(_NUM_COLOURS - 1):
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return [tuple(round(255 * float(c)) for c in rgb[i]) for i in chosen]  # type: ignore[misc]


def _label_texts(instances: Instances, class_names: Sequence[str] | None) -> list[str]:
    """``"class 0.93 #4"`` for each instance, without the parts that its fields do not give."""
    parts: list[list[str]] = [[] for _ in range(len(instances))]
    if instances.has("pred_classes"):
        classes = instances.pred_classes.tolist()
        if class_names is not None and max(classes) >= len(class_names):
            raise UserError(
                f"the model predicts class {max(classes)}, but there are names for "
                f"{len(class_names)} classes only; the dataset in DATASETS.TEST does not fit it"
            )
        for part, index in zip(parts, classes, strict=True):
            part.append(class_names[index] if class_names is not None else f"class {index}")
    if instances.has("scores"):
        for part, score in zip(parts, instances.scores.tolist(), strict=True):
            part.append(f"{score:.2f}")
    if instances.has("track_ids"):
        for part, track_id in zip(parts, instances.track_ids.tolist(), strict=True):
            part.append(f"#{track_id}")
    return [" ".join(part) for part in parts]


def _fill_mask(
    canvas: np.ndarray,
    mask: np.ndarray,
    rectangle: Sequence[int],
    colour: tuple[int, int, int],
    alpha: float,
) -> None:
    """Blend a mask, uint8 (H,W) of 0 and 1, into the canvas; ``rectangle`` (x,y,w,h) holds it."""
    x, y, width, height = rectangle
    if width == 0:
        return
    region = canvas[y : y + height, x : x + width]
    tint = np.empty_like(region)
    tint[:] = colour
    blended = cv2.addWeighted(region, 1 - alpha, tint, alpha, 0)
    cv2.copyTo(blended, mask[y : y + height, x : x + width], region)


def _outline_mask(
    canvas: np.ndarray,
    mask: np.ndarray,
    rectangle: Sequence[int],
    colour: tuple[int, int, int],
    thickness: int,
) -> None:
    """Draw the outer and inner outlines of a mask, as in :func:`_fill_mask`."""
    x, y, width, height = rectangle
    if width == 0:
        return
    part = mask[y : y + height, x : x + width]
    contours, _ = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(canvas, contours, -1, colour, thickness, cv2.LINE_AA, offset=(x, y))


def _draw_label(
    canvas: np.ndarray,
    text: str,
    colour: tuple[int, int, int],
    anchor: tuple[int, int],
    font_size: int,
) -> None:
    """Text on a filled box above ``anchor``, moved inside the image where it would stick out."""
    coverage = _text_coverage(text, font_size)
    height, width = coverage.shape
    x = int(np.clip(anchor[0], 0, max(canvas.shape[1] - width, 0)))
    y = int(np.clip(anchor[1] - height, 0, max(canvas.shape[0] - height, 0)))
    region = canvas[y : y + height, x : x + width]
    coverage = coverage[: region.shape[0], : region.shape[1], None]
    # Rec. 601 luma: dark text on light colours, light text on dark ones.
    luma = np.dot(colour, (0.299, 0.587, 0.114))
    ink = 0.0 if luma > 140 else 255.0
    region[:] = (np.array(colour) * (1 - coverage) + ink * coverage).round()


@functools.lru_cache(maxsize=4096)
def _text_coverage(text: str, font_size: int) -> np.ndarray:
    """The text with a margin, as float32 (h,w) ink coverage from 0 to 1.

    Pillow with matplotlib's DejaVu font knows Latin, Greek and Cyrillic letters; OpenCV's own text
    is ASCII only.
    """
    font = _font(font_size)
    left, _, right, _ = font.getbbox(text)
    ascent, descent = font.getmetrics()
    margin = max(2, font_size // 4)
    size = (int(right - left) + 2 * margin, ascent + descent + margin)
    picture = Image.new("L", size)
    ImageDraw.Draw(picture).text((margin - left, margin // 2), text, fill=255, font=font)
    return np.asarray(picture, np.float32) / 255


@functools.lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    return ImageFont.truetype(str(path), size)

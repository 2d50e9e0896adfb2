"""Boxes of annotation files that no model can find and no evaluation can match."""

from collections.abc import Sequence


def unusable_box(
    box: Sequence[float], height: float = float("inf"), width: float = float("inf")
) -> str | None:
    """Why an object with this box is left out, in words that stand after a count.

    Args:
        box: left, top, width, height in pixels, all finite.
        height, width: of the image, where known.

    Returns:
        None for a box of which a part with an area lies inside the image.
    """
    left, top, box_width, box_height = box
    if box_width <= 0 or box_height <= 0:
        return "whose box has no area" if any(box) else "whose box is 0,0,0,0"
    inside = left < width and top < height and left + box_width > 0 and top + box_height > 0
    return None if inside else "whose box lies outside the image"

"""The size that an image is resized to before a network sees it."""


def shortest_edge_size(
    height: int, width: int, short_edge: int, max_size: int = 0
) -> tuple[int, int]:
    """The (height, width) of an image after DETR's resizing, which VisTR shares; in pixels.

    The long side's limit, ``max_size`` unless 0, comes first: where it would be exceeded, the short
    side becomes what fits, rounded. The other side then follows from the aspect ratio, rounded down.
    (detectron2's own rule rounds both sides at the end and can differ by one pixel.)
    """
    short, long = min(height, width), max(height, width)
    if max_size and long / short * short_edge > max_size:
        short_edge = max(round(max_size * short / long), 1)
    if width < height:
        return int(short_edge * height / width), short_edge
    return short_edge, int(short_edge * width / height)

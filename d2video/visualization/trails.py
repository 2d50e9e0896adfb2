"""Where tracks were in the last frames, and lines that show it."""

import itertools
from collections import deque

import cv2
import numpy as np
from detectron2.structures import Instances

from d2video.visualization.primitives import track_colour


class TrailHistory:
    """The places of each track in the last ``length`` frames.

    An object's place is the middle of its box's lower side, where it stands on the ground.
    """

    def __init__(self, length: int) -> None:
        # track id -> (x, y), one dict a frame.
        self._frames: deque[dict[int, tuple[float, float]]] = deque(maxlen=length)

    def add(self, instances: Instances) -> None:
        """Take in the next frame: ``pred_boxes`` (XYXY, pixels) and ``track_ids``.

        Boxes without area (of empty masks) and instances without ids have no place.
        """
        places = {}
        if instances.has("pred_boxes") and instances.has("track_ids"):
            boxes = instances.pred_boxes.tensor.tolist()
            for track_id, (x0, y0, x1, y1) in zip(instances.track_ids.tolist(), boxes, strict=True):
                if x1 > x0 and y1 > y0:
                    places[track_id] = ((x0 + x1) / 2, y1)
        self._frames.append(places)

    def segments(self) -> list[tuple[int, int, np.ndarray]]:
        """The lines between the places in successive frames, oldest first; none bridges a gap.

        Returns:
            (track id, age, float32 [[x, y], [x, y]]); the newest line has age 0 frames.
        """
        last = len(self._frames) - 1
        return [
            (track_id, last - index, np.array([old[track_id], new[track_id]], np.float32))
            for index, (old, new) in enumerate(itertools.pairwise(self._frames), start=1)
            for track_id in old.keys() & new.keys()
        ]


def draw_trails(
    canvas: np.ndarray, trails: TrailHistory, thickness: int, *, scale: int = 1
) -> None:
    """Draw the trails into a canvas, in the colours of the tracks, thinner where they are old.

    Args:
        canvas: uint8 (scale·H, scale·W, 3), RGB; changed.
        thickness: of the newest end, in pixels of the canvas.
        scale: the canvas is this many times as large as the frames.
    """
    fractional_bits = 4  # OpenCV takes fixed-point coordinates
    segments = trails.segments()
    oldest = max((age for _, age, _ in segments), default=0) + 1
    for track_id, age, ends in segments:
        start, end = (scale * 2**fractional_bits * ends).round().astype(int).tolist()
        width = max(1, round(thickness * (1 - age / oldest)))
        colour = track_colour(track_id)
        cv2.line(canvas, start, end, colour, width, cv2.LINE_AA, fractional_bits)

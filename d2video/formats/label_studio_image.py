"""Label Studio's rectangles, polygons, ellipses and brush strokes in images."""

import os
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from d2video.formats.faults import EntryError, reporting
from d2video.formats.geometry.boxes import is_number, is_point
from d2video.formats.geometry.turned_shapes import ellipse_polygon, upright_boxes
from d2video.formats.label_studio_brush import decode_brush
from d2video.formats.label_studio_tasks import Result, Task
from d2video.formats.labels.footage import check_image_size
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.text import as_json
from d2video.video.image_io import read_image_size


def find_image(task: Task, folders: Sequence[str]) -> tuple[str, str]:
    """The image of a task, which is in one of ``folders``, and its path in that.

    Raises:
        EntryError: it is not there.
    """
    for folder, name in product(folders, task.names):
        frame = os.path.join(folder, name)
        if os.path.isfile(frame):
            return frame, name
    looked = ", ".join(task.names[-4:])
    raise EntryError(
        f"its image is not in {folders[0]} (looked for {looked}): put it there, or give image_root"
    )


def add_task(labels: LabelSet, task: Task, name: str, frame: str) -> None:
    """Add an image, the file ``frame``, and its objects.

    Raises:
        BrokenFile: it cannot be read.
    """
    size = read_image_size(frame)
    image = labels.add_video(name, [frame], size)
    for result in task.results:
        with reporting(labels.report, labels.source, "result", f"{result.id} of task {task.id}"):
            fields = result.fields
            stated = fields.get("original_height", size[0]), fields.get("original_width", size[1])
            check_image_size(frame, size, stated)
            if fields.get("image_rotation"):
                raise EntryError(
                    f"its image was turned by {as_json(fields['image_rotation'])} degrees for labelling; "
                    "turn it back there"
                )
            image.add(0, result.label, **_geometry(labels, result, size))


def _geometry(labels: LabelSet, result: Result, size: tuple[int, int]) -> dict[str, Any]:
    """``box`` or ``segmentation`` for :meth:`~d2video.formats.labels.label_set.LabelledVideo.add`."""
    height, width = size
    value, scale = result.value, np.array([width, height]) / 100
    if result.type == "brushlabels":
        if value.get("format") != "rle":
            raise EntryError(
                f"the format of its mask, {as_json(value.get('format'))}, is not rle; export it again"
            )
        return {"segmentation": decode_brush(value.get("rle"), height, width)}
    if result.type == "polygonlabels":
        points = value.get("points")
        if not isinstance(points, list) or not all(map(is_point, points)):
            raise EntryError(
                f"its points, {as_json(points)}, are not pairs of numbers; correct them"
            )
        return {"segmentation": [(np.array(points).reshape(-1, 2) * scale).ravel().tolist()]}
    degrees = _numbers(value, "rotation")[0] if "rotation" in value else 0.0
    if result.type == "ellipselabels":
        centre, radii = (
            _numbers(value, "x", "y") * scale,
            _numbers(value, "radiusX", "radiusY") * scale,
        )
        return {"segmentation": [ellipse_polygon(centre, radii, degrees)]}
    box = _numbers(value, "x", "y", "width", "height") * [*scale, *scale]
    labels.leave_out_rotation(int(degrees % 90 != 0))
    return {"box": upright_boxes(box[None], np.array([degrees]))[0].tolist()}


def _numbers(value: dict[str, Any], *keys: str) -> np.ndarray:
    numbers = [value.get(key) for key in keys]
    if not all(map(is_number, numbers)):
        raise EntryError(
            f"its {', '.join(keys)}, {as_json(numbers)}, must be numbers; correct them"
        )
    return np.array(numbers, np.float64)

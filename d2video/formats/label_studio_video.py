"""Label Studio's rectangles in videos: keyframes, and what it shows between them.

K: keyframes, L: frames of the video, N: of these the ones in which an object is.
"""

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from d2video.formats.faults import EntryError, reporting
from d2video.formats.geometry.boxes import is_number
from d2video.formats.geometry.turned_shapes import upright_boxes
from d2video.formats.label_studio_tasks import Task
from d2video.formats.labels.footage import Footage
from d2video.formats.labels.label_set import LabelledVideo, LabelSet
from d2video.formats.text import as_json, is_id
from d2video.video.frame_index import frame_index

logger = logging.getLogger(__name__)

_NUMBERS = ("x", "y", "width", "height", "rotation")
# (K,) frames as Label Studio counts, from 0 -> (K,) frames of the video.
_Place = Callable[[np.ndarray], np.ndarray]


def add_task(
    labels: LabelSet, task: Task, name: str, footage: Footage, fps: float | None, first_frame: int
) -> None:
    """Add a video and its objects.

    Args:
        name: of the video.
        fps, first_frame: see :func:`~d2video.formats.label_studio.read_label_studio`.

    Raises:
        EntryError: its frames were counted in another way than they are in the file, and ``fps`` is not
            given, or there is no video file.
    """
    place = _frame_places(task, footage, fps)
    count = len(footage.frames)
    numbers = range(first_frame, first_frame + count)
    video = labels.add_video(name, footage.frames, footage.size, numbers)
    for result in task.results:
        with reporting(labels.report, labels.source, "result", f"{result.id} of task {task.id}"):
            frames, values, is_enabled = read_keyframes(result.value, first_frame)
            frames = place(frames - first_frame)
            if frames[-1] >= count:
                raise EntryError(
                    f"it has a keyframe behind the {count} frames of {footage.path}; give the video that "
                    "was labelled"
                )
            places, shown = interpolate(frames, values, is_enabled, count)
            _add_boxes(video, places + first_frame, result.label, result.id, shown)


def _frame_places(task: Task, footage: Footage, fps: float | None) -> _Place:
    count = len(footage.frames)
    counts = [result.value.get("framesCount") for result in task.results]
    others = [each for each in counts if each is not None and each != count]
    if not others:
        return lambda frames: frames
    how = f"its framesCount is {as_json(others[0])}, and {footage.path} has {count} frames"
    if not os.path.isfile(footage.path):
        raise EntryError(f"{how}: give the video file (image_root)")
    if fps is None:
        raise EntryError(
            f"{how}, so that Label Studio counted at another rate: give the frame rate of the labelling "
            f"configuration as fps{_rate_by_times(task)}"
        )
    times = frame_index(footage.path).times
    logger.info(
        "%s: frames counted at %g a second are put on its %d by time", footage.path, fps, count
    )

    # Up to the middle between two frames it is the first of them.
    ends = np.append((times[1:] + times[:-1]) / 2, times[-1] + max(1 / fps, times[-1] / count))
    return lambda frames: np.searchsorted(ends, frames / fps)


def _rate_by_times(task: Task) -> str:
    """The rate that follows from ``time`` of the keyframes, for messages; "" if there is none."""
    sequences = [result.value.get("sequence") for result in task.results]
    keyframes = [each for found in sequences if isinstance(found, list) for each in found]
    timed = [
        (each["frame"], each["time"])
        for each in keyframes
        if isinstance(each, dict) and is_number(each.get("frame")) and is_number(each.get("time"))
    ]
    frame, time = max(timed, default=(0, 0))
    return f" (by the times of its keyframes it is {frame / time:.4g})" if time > 0 else ""


def read_keyframes(
    value: dict[str, Any], first_frame: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The keyframes of an object, by frame.

    Args:
        value: of the result.
        first_frame: the number of the video's first frame.

    Returns:
        frames: (K,) ascending.
        values: (K,5) left, top, width, height in per cent of the frame, and degrees.
        is_enabled: (K,) False: from the next frame on the object is absent.

    Raises:
        EntryError: there is none, one is damaged, before the first frame, or there twice.
    """
    sequence = value.get("sequence")
    if not isinstance(sequence, list) or not sequence:
        raise EntryError("it has no keyframes (sequence); remove it, or export it again")
    rows: dict[int, tuple[list[float], bool]] = {}
    for fields in sequence:
        frame: Any = fields.get("frame") if isinstance(fields, dict) else None
        if not is_id(frame):
            raise EntryError(
                f"its keyframe {as_json(fields)} has no whole number as frame; correct it"
            )
        numbers = [fields.get(key, 0 if key == "rotation" else None) for key in _NUMBERS]
        if not all(map(is_number, numbers)):
            raise EntryError(
                f"its keyframe {frame} has no numbers as {', '.join(_NUMBERS)}; correct it"
            )
        if frame < first_frame:
            raise EntryError(
                f"its keyframe {frame} is before the first frame, which Label Studio calls 1: set "
                "first_frame to 0 if a program wrote the file, and counts from 0"
            )
        if frame in rows:
            raise EntryError(f"its keyframe {frame} is there twice; remove one")
        rows[frame] = numbers, fields.get("enabled", True) is not False
    frames = np.array(sorted(rows))
    values = np.array([rows[frame][0] for frame in frames.tolist()], np.float64)
    return frames, values, np.array([rows[frame][1] for frame in frames.tolist()])


def interpolate(
    frames: np.ndarray, values: np.ndarray, is_enabled: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where an object is, and its box there: between keyframes each number is linear.

    After a keyframe that is not enabled it is absent until the next one; after the last one, if that is
    enabled, it stays to the end.

    Args:
        frames: (K,) ascending, from 0; of equal ones the last counts.
        values, is_enabled: as of :func:`read_keyframes`.
        count: frames of the video.

    Returns:
        frames: (N,) ascending.
        values: (N,5).
    """
    is_last = np.append(np.diff(frames) > 0, True)
    frames, values, is_enabled = frames[is_last], values[is_last], is_enabled[is_last]
    places = np.arange(frames[0], count)
    before = np.searchsorted(frames, places, side="right") - 1
    places = places[is_enabled[before] | (frames[before] == places)]
    return places, np.stack([np.interp(places, frames, column) for column in values.T], axis=1)


def _add_boxes(
    video: LabelledVideo, numbers: np.ndarray, label: str, track: str, values: np.ndarray
) -> None:
    """``numbers`` (N,) of frames as Label Studio counts; ``values`` (N,5) as of :func:`interpolate`."""
    height, width = video.size
    degrees = values[:, 4]
    boxes = upright_boxes(values[:, :4] / 100 * [width, height, width, height], degrees)
    for number, box in zip(numbers.tolist(), boxes.tolist(), strict=True):
        video.add(number, label, track=track, box=box)
    video.labels.leave_out_rotation(int((degrees % 90 != 0).sum()))

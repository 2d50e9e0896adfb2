"""The frames and labels of BDD100K's JSON files, in any version of the format."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from d2video.formats.faults import EntryError, Report, reporting
from d2video.formats.geometry.boxes import is_number
from d2video.formats.paths import leaves_folder
from d2video.formats.text import as_json, check_size, is_id, json_kind, read_json
from d2video.utils.errors import UserError

CLASSES = ("pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
# What the benchmark ignores, as a region of the class that it is most like.
_IGNORED_CLASSES = {"other person": "pedestrian", "other vehicle": "car", "trailer": "truck"}
_OLDER_NAMES = {
    "bike": "bicycle",
    "caravan": "car",
    "motor": "motorcycle",
    "person": "pedestrian",
    "van": "car",
}


@dataclass(frozen=True)
class Label:
    """An object in a frame.

    Attributes:
        where: what messages call it.
        id: of its track.
        category: what the file calls its class, or the newer name; of what the benchmark ignores, the
            class that it is like.
        box: left, top, width, height; None: there is a mask, or neither.
        rle: COCO's, or None.
        ignored, occluded: as the attributes and the class say.
    """

    where: str
    id: str
    category: str
    box: list[float] | None
    rle: Any
    ignored: bool
    occluded: bool


@dataclass(frozen=True)
class Frame:
    """A frame.

    Attributes:
        video: name of its video.
        number: from 0 on.
        name: of its image file.
        size: height and width, where the file has them.
        labels: the objects of the file, see :func:`read_frame_labels`.
    """

    video: str
    number: int
    name: str
    size: tuple[int, int] | None
    labels: list[Any]


def is_frames(content: Any) -> bool:
    """Whether the content of a JSON file is that of tracks."""
    frames = content.get("frames") if isinstance(content, dict) else content
    first = frames[0] if isinstance(frames, list) and frames else None
    return isinstance(first, dict) and {"name", "labels"} <= {*first} and bool(_video_of(first))


def _video_of(frame: Mapping[str, Any]) -> Any:
    return frame.get("videoName", frame.get("video_name"))


def read_frames(path: str, report: Report) -> Iterator[Frame]:
    """The frames of a file, in its order.

    Raises:
        UserError: the file is not a list of frames.
    """
    content = read_json(path)
    frames = content.get("frames") if isinstance(content, dict) else content
    if not isinstance(frames, list):
        raise UserError(
            f"{path} must be a list of frames, and is {json_kind(content)}: give a file of BDD100K's tracks"
        )
    for place, fields in enumerate(frames):
        with reporting(report, path, "frame", f"[{place}]"):
            if not isinstance(fields, dict):
                raise EntryError("it is not an object; correct the file")
            given = (fields.get(key) for key in ("frameIndex", "frame_index", "index"))
            number: Any = next((each for each in given if each is not None), None)
            video, name, labels = _video_of(fields), fields.get("name"), fields.get("labels")
            if not (isinstance(video, str) and isinstance(name, str) and video and name):
                raise EntryError("it needs videoName and name, two texts; complete the file")
            if leaves_folder(video):
                raise EntryError(
                    f"its videoName, {as_json(video)}, is not that of a folder; correct it"
                )
            if not is_id(number):
                raise EntryError(
                    f"its frameIndex, {as_json(number)}, is not a whole number; correct it"
                )
            if not isinstance(labels, list | None):
                raise EntryError(f"its labels are {json_kind(labels)}, not a list; correct it")
            size: Any = fields.get("size")
            if size is not None and not isinstance(size, dict):
                raise EntryError(f"its size, {as_json(size)}, is not an object; correct it")
            if size is not None:
                size = size.get("height"), size.get("width")
                check_size(*size)
            yield Frame(video, number, name, size, labels or [])


def read_frame_labels(frame: Frame, path: str, report: Report) -> Iterator[Label]:
    """The objects of a frame.

    Raises:
        UserError: the file has outlines (poly2d) in place of masks.
    """
    for place, fields in enumerate(frame.labels):
        identity = fields.get("id") if isinstance(fields, dict) else None
        where = f"{f'[{place}]' if identity is None else identity} of {frame.name}"
        with reporting(report, path, "label", where):
            if not isinstance(fields, dict):
                raise EntryError("it is not an object; correct the file")
            if not (is_id(identity) or isinstance(identity, str)):
                raise EntryError("it has no id; complete the file")
            box, rle = fields.get("box2d"), fields.get("rle")
            if not box and not rle and fields.get("poly2d"):
                raise UserError(
                    f"{path} holds poly2d, outlines with Bezier curves: give the rles or the bitmasks of "
                    "the set"
                )
            yield _label(where, str(identity), fields, box, rle)


def _label(where: str, identity: str, fields: Mapping[str, Any], box: Any, rle: Any) -> Label:
    name, attributes = fields.get("category"), fields.get("attributes")
    if not isinstance(name, str) or not isinstance(attributes, dict | None):
        raise EntryError("its category must be a text and its attributes an object; correct it")
    name = _OLDER_NAMES.get(name, name)
    true = {key.lower() for key, value in (attributes or {}).items() if value is True}
    return Label(
        where,
        identity,
        _IGNORED_CLASSES.get(name, name),
        _left_top_width_height(box) if box and not rle else None,
        rle or None,
        ignored=bool(true & {"crowd", "ignored"}) or name in _IGNORED_CLASSES,
        occluded="occluded" in true,
    )


def _left_top_width_height(box: Any) -> list[float]:
    """Of a box2d, whose last pixels belong to it."""
    keys = ("x1", "y1", "x2", "y2")
    corners: list[Any] = [box.get(key) for key in keys] if isinstance(box, dict) else []
    if not corners or not all(map(is_number, corners)):
        raise EntryError(f"its box2d, {as_json(box)}, lacks one of x1, y1, x2, y2; correct it")
    x1, y1, x2, y2 = corners
    return [x1, y1, x2 - x1 + 1, y2 - y1 + 1]

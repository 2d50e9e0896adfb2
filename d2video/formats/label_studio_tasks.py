"""The tasks of a Label Studio export: of each the annotation that counts, with its results."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from d2video.formats.faults import EntryError, Report, Tally, reporting
from d2video.formats.paths import portable
from d2video.formats.text import as_json, read_json
from d2video.utils.errors import UserError
from d2video.video.image_io import IMAGE_SUFFIXES
from d2video.video.video_file import VIDEO_SUFFIXES

VIDEO_TYPE = "videorectangle"
IMAGE_TYPES = ("rectanglelabels", "polygonlabels", "ellipselabels", "brushlabels")
# Shapes whose label is a result of its own, "labels" with the same id -> the type of those with a label.
_UNLABELLED = dict(zip(("rectangle", "polygon", "ellipse", "brush"), IMAGE_TYPES, strict=True))
# What Label Studio puts before the names of uploaded files.
_PREFIXED = re.compile(r"[0-9a-f]{8}-(.+)")


@dataclass(frozen=True)
class Result:
    """An object in a video or an image.

    Attributes:
        id: of Label Studio, a text.
        type: :data:`VIDEO_TYPE`, or one of :data:`IMAGE_TYPES`.
        label: its class.
        value: what the type has.
        fields: all of the result.
    """

    id: str
    type: str
    label: str
    value: dict[str, Any]
    fields: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A video or an image that was labelled.

    Attributes:
        id: of Label Studio, or its place in the file, for messages.
        is_video: else it is an image.
        names: what its file may be called, relative and with "/", likeliest first.
        results: its objects.
    """

    id: str
    is_video: bool
    names: list[str]
    results: list[Result]


def is_label_studio(content: Any) -> bool:
    """Whether the content of a JSON file is an export of Label Studio, "JSON" or "JSON-MIN"."""
    first = _first(content)
    return _is_task(first) or _is_of_json_min(first)


def _first(content: Any) -> dict[str, Any]:
    first = content[0] if isinstance(content, list) and content else None
    return first if isinstance(first, dict) else {}


def _is_task(fields: dict[str, Any]) -> bool:
    return isinstance(fields.get("annotations"), list) and isinstance(fields.get("data"), dict)


def _is_of_json_min(fields: dict[str, Any]) -> bool:
    return {"annotator", "annotation_id"} <= fields.keys()


def read_tasks(path: str, report: Report) -> list[Task]:
    """The labelled tasks; of several annotations the last one that is not cancelled counts.

    Raises:
        UserError: it is not Label Studio's JSON.
    """
    content = read_json(path)
    if _is_of_json_min(_first(content)):
        raise UserError(
            f"{path} is Label Studio's JSON-MIN, which lacks ids and sizes: export the project as JSON"
        )
    if not _is_task(_first(content)):
        raise UserError(
            f"{path} is not Label Studio's JSON, a list of tasks with data and annotations: name the format "
            "that it has, or export the project as JSON"
        )
    return [*_Reader(path, report).tasks(content)]


class _Reader:
    """Makes tasks of their JSON, and counts what is not used."""

    def __init__(self, path: str, report: Report) -> None:
        self.path, self.report = path, report
        nouns = ("tasks", "annotations", "results", "labels of objects")
        self.of_tasks, self.of_annotations, self.of_results, self.of_labels = (
            Tally(path, noun) for noun in nouns
        )

    def tasks(self, content: list[Any]) -> Iterator[Task]:
        for number, fields in enumerate(content):
            given = fields.get("id") if isinstance(fields, dict) else None
            identity = f"[{number}]" if given is None else as_json(given)
            with reporting(self.report, self.path, "task", identity):
                if not isinstance(fields, dict) or not _is_task(fields):
                    raise EntryError("it has no data or no list of annotations; export it again")
                annotation = self._annotation(fields)
                if annotation is None:
                    self.of_tasks.leave_out("without an annotation, which nobody has labelled")
                    continue
                self.of_tasks.used += 1
                results = [*self._results(annotation, identity)]
                yield _task(identity, fields["data"], results)
        for tally in (self.of_tasks, self.of_annotations, self.of_results, self.of_labels):
            tally.tell(self.report)

    def _annotation(self, fields: dict[str, Any]) -> dict[str, Any] | None:
        tally = self.of_annotations
        for key in ("predictions", "drafts"):
            found = fields.get(key)
            tally.leave_out(f"that are {key}", len(found) if isinstance(found, list) else 0)
        sound = [each for each in fields["annotations"] if isinstance(each, dict)]
        if len(sound) < len(fields["annotations"]):
            raise EntryError("an annotation of it is not an object; export it again")
        kept = [each for each in sound if not each.get("was_cancelled")]
        tally.leave_out("that are cancelled", len(sound) - len(kept))
        if not kept:
            return None
        tally.used += 1
        tally.leave_out("before the last one of their task", len(kept) - 1)
        return kept[-1]

    def _results(self, annotation: dict[str, Any], task: str) -> Iterator[Result]:
        given = annotation.get("result")
        if not isinstance(given, list):
            raise EntryError("its annotation has no list called result; export it again")
        apart = _labels_apart(given)
        for number, fields in enumerate(given):
            identity = fields.get("id") if isinstance(fields, dict) else None
            name = identity if isinstance(identity, str) else f"[{number}]"
            with reporting(self.report, self.path, "result", f"{name} of task {task}"):
                if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
                    raise EntryError("it is not an object with a type; export it again")
                if fields["type"] == "labels" and name in apart:
                    self.of_results.used += 1
                    continue
                result = self._result(fields, name, apart.get(name))
                if result is not None:
                    self.of_results.used += 1
                    yield result

    def _result(self, fields: dict[str, Any], name: str, apart: Any) -> Result | None:
        value = fields.get("value")
        kind = _UNLABELLED.get(fields["type"], fields["type"])
        if kind != VIDEO_TYPE and kind not in IMAGE_TYPES:
            self.of_results.leave_out(f"of type {kind}")
            return None
        if not isinstance(value, dict):
            raise EntryError("its value is not an object; export it again")
        labels = value.get("labels" if kind == VIDEO_TYPE else kind) or apart or []
        if not isinstance(labels, list) or not all(isinstance(each, str) for each in labels):
            raise EntryError(f"its labels, {as_json(labels)}, are not texts; correct them")
        if not labels:
            self.of_results.leave_out("without a label")
            return None
        self.of_labels.used += 1
        self.of_labels.leave_out("behind the first of their object", len(labels) - 1)
        return Result(name, kind, labels[0], value, fields)


def _labels_apart(results: list[Any]) -> dict[str, Any]:
    """The labels that are results of their own, by the id of the shape that has them."""
    found: dict[str, Any] = {}
    shapes: set[str] = set()
    for fields in results:
        if isinstance(fields, dict) and isinstance(fields.get("id"), str):
            if fields.get("type") == "labels" and isinstance(fields.get("value"), dict):
                found[fields["id"]] = fields["value"].get("labels")
            elif fields.get("type") in (VIDEO_TYPE, *_UNLABELLED):
                shapes.add(fields["id"])
    return {identity: labels for identity, labels in found.items() if identity in shapes}


def _task(identity: str, data: dict[str, Any], results: list[Result]) -> Task:
    """
    Raises:
        EntryError: it has results of videos and of images, or names no file.
    """
    of_video = {each.type == VIDEO_TYPE for each in results}
    if len(of_video) > 1:
        raise EntryError("it has objects of a video and of an image; export them apart")
    video, image = (
        _file(data, *kind) for kind in (("video", VIDEO_SUFFIXES), ("image", IMAGE_SUFFIXES))
    )
    is_video = of_video.pop() if of_video else video is not None
    source = video if is_video else image
    if source is None:
        raise EntryError(
            f"its data, {as_json(data)}, name no {'video' if is_video else 'image'}; export it again"
        )
    return Task(identity, is_video, _file_names(source), results)


def _file(data: dict[str, Any], key: str, suffixes: frozenset[str]) -> str | None:
    """The path or URL in a task's data: by the usual key, or else the only one with such a suffix."""
    if isinstance(data.get(key), str):
        return data[key]
    texts = [value for value in data.values() if isinstance(value, str)]
    found = [text for text in texts if PurePosixPath(_path_of(text)).suffix.lower() in suffixes]
    return found[0] if len(found) == 1 else None


def _path_of(source: str) -> str:
    """The path of a file, of one in local storage (``?d=``), or in a URL."""
    source = portable(source)
    try:
        url = urlsplit(source)
    except ValueError:
        return ""
    if url.path.endswith("/local-files/"):
        return parse_qs(url.query).get("d", [""])[0]
    # In a path, # and ? are part of a name.
    return unquote(url.path if url.scheme in ("http", "https") else source.rpartition("://")[2])


def _file_names(source: str) -> list[str]:
    parts = [part for part in _path_of(source).split("/") if part not in ("", ".", "..")]
    names = ["/".join(parts[first:]) for first in range(len(parts))]
    uploaded = _PREFIXED.fullmatch(parts[-1]) if parts else None
    return [*names, uploaded[1]] if uploaded else names

"""The formats of labels that are read as a :class:`~d2video.formats.label_set.LabelSet`, by name."""

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from d2video.formats.exports import find_exports
from d2video.formats.faults import Report, refuse
from d2video.formats.label_set import LabelSet
from d2video.formats.recognition import Seen, recogniser, unpacked
from d2video.formats.united import united
from d2video.utils.errors import UserError
from d2video.utils.near_names import did_you_mean

F = TypeVar("F", bound=Callable[..., LabelSet])


@dataclass(frozen=True)
class LabelFormat:
    """A format.

    Attributes:
        name: as in DATASETS.REGISTER.
        read: ``read(root, report, image_root=..., ...)`` gives the labels; its other arguments are those
            of the format.
        recognises: whether a file or folder has it.
        summary: what writes it, for lists.
    """

    name: str
    read: Callable[..., LabelSet]
    recognises: Callable[[Seen], bool]
    summary: str


LABEL_FORMATS: dict[str, LabelFormat] = {}


def label_format(name: str, summary: str, recognises: Callable[[Seen], bool]) -> Callable[[F], F]:
    """Decorate a reader; the arguments are those of :class:`LabelFormat`.

    A reader has the form ``read(root: str, report: Report = refuse, *, image_root: str | None = None,
    ...) -> LabelSet``. ``root`` is the file or the folder as the tool wrote it, ``image_root`` where its
    frames are if they are not where the tool puts them; further arguments have types and defaults. A reader
    of folders may take ``videos``, the names of those to read, or None for all.
    """

    def register(function: F) -> F:
        assert name not in LABEL_FORMATS, f"format {name} is registered twice"
        LABEL_FORMATS[name] = LabelFormat(name, function, recognises, summary)
        recogniser(name)(recognises)
        return function

    return register


def read_labels(
    path: str,
    format: str | None = None,
    report: Report = refuse,
    *,
    videos: Sequence[str] | None = None,
    **options: Any,
) -> LabelSet:
    """Read labels.

    Args:
        path: the file or folder as the tool wrote it, a zip archive of it, or a folder of several such
            folders or archives.
        format: a name of :data:`LABEL_FORMATS`; None: recognised.
        report: takes faults, doubts and what is left out.
        videos: only these, by name; None: all.
        options: of the format's reader.

    Raises:
        UserError: the format or a video is unknown, or the labels cannot be read.
    """
    if format is None or format in LABEL_FORMATS:
        exports = find_exports(path, format)
        format = exports.format
    if format not in LABEL_FORMATS:
        hint = did_you_mean(format, LABEL_FORMATS, f"choose {', '.join(sorted(LABEL_FORMATS))}")
        raise UserError(f"{path}: there is no format of labels '{format}': {hint}")
    left_out = exports.left_out(path)
    if left_out is not None:
        report(left_out)
    if options.get("image_root") is not None:
        options["image_root"] = root = unpacked(options["image_root"])
        if len(exports.places) > 1 and os.path.isfile(root):
            raise UserError(
                f"{path} holds {len(exports.places)} exports, and image_root, {root}, is one video: give the "
                "folder that holds those of all"
            )
    read = LABEL_FORMATS[format].read
    can_choose = len(exports.places) == 1 and "videos" in inspect.signature(read).parameters
    if videos is not None and can_choose:
        options["videos"] = videos
    sets = {name: read(seen.path, report, **options) for name, seen in exports.places.items()}
    labels = united(path, sets, report)
    if videos is not None:
        labels.choose(videos)
    return labels

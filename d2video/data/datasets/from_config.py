"""Data sets that a config registers, so that one's own need no Python."""

import inspect
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from detectron2.data import DatasetCatalog
from detectron2.data.datasets import register_coco_instances

from d2video.data.datasets.coco_panoptic import register_coco_panoptic
from d2video.data.datasets.coco_tracks import register_coco_tracks
from d2video.data.datasets.crowdhuman import register_crowdhuman
from d2video.data.datasets.image_folder import register_image_folder, register_image_pairs
from d2video.data.datasets.mot import register_mot
from d2video.data.datasets.video_classification import (
    register_kinetics,
    register_video_folders,
    register_video_list,
)
from d2video.data.datasets.ytvis import register_ytvis_instances
from d2video.utils.argument_types import fits
from d2video.utils.errors import UserError

_KEY = "DATASETS.REGISTER"
_FORMATS: dict[str, Callable[..., None]] = {
    "ytvis": partial(register_ytvis_instances, metadata={}),
    "coco": partial(register_coco_instances, metadata={}),
    "coco_panoptic": partial(register_coco_panoptic, metadata={}),
    "coco_tracks": register_coco_tracks,
    "mot": register_mot,
    "crowdhuman": register_crowdhuman,
    "video_list": register_video_list,
    "video_folders": register_video_folders,
    "kinetics": register_kinetics,
    "image_folder": register_image_folder,
    "image_pairs": register_image_pairs,
}
_registered: dict[str, Any] = {}  # by name, what it was registered with


def register_own(entries: Sequence[Sequence[Any]]) -> None:
    """Register the data sets of ``DATASETS.REGISTER``; no file is touched.

    Args:
        entries: ``[name, format, {argument: value}]``. A format is the end of the name of a function
            in this folder, ``register_<format>`` ("ytvis" and "coco": ``..._instances``), whose
            arguments are meant; ``metadata`` may be left out. ``~`` in paths is the user's home.

    Raises:
        UserError: an entry has another form, an unknown format or argument, lacks one or has one of
            another type; or there is another data set of its name.
    """
    for entry in entries:
        match entry:
            case [str(name), str(kind), dict(arguments)] if name:
                _register(name, kind, arguments)
            case _:
                raise UserError(
                    f"{_KEY}: entry {entry!r} must have the form [name, format, {{argument: value}}]"
                )


def _register(name: str, kind: str, arguments: dict[str, Any]) -> None:
    if kind not in _FORMATS:
        raise UserError(f"{_KEY}: {name} has the format '{kind}': choose {', '.join(_FORMATS)}")
    wanted = inspect.signature(_FORMATS[kind])
    try:
        wanted.bind(name, **arguments)
        for key, value in arguments.items():
            # detectron2's own functions have no annotations.
            annotation = wanted.parameters[key].annotation
            if annotation is inspect.Parameter.empty:
                annotation = dict[str, Any] if key == "metadata" else str
            if not fits(value, annotation):
                raise TypeError(f"{key} cannot be {value!r}")
    except TypeError as error:
        known = ", ".join(str(each) for key, each in wanted.parameters.items() if key != "name")
        raise UserError(f"{_KEY}: {name}: {error}; {kind} takes {known}") from error
    arguments = {
        key: _at_home(value) if _is_path(key) else value for key, value in arguments.items()
    }
    if name in DatasetCatalog:
        if _registered.get(name) == (kind, arguments):
            return  # for an earlier config
        raise UserError(f"{_KEY}: there is a data set {name} already: choose another name")
    _FORMATS[kind](name, **arguments)
    _registered[name] = kind, arguments


def _is_path(key: str) -> bool:
    return key in ("root", "odgt") or key.endswith(("_root", "_file", "_json"))


def _at_home(path: Any) -> Any:
    """A path, or several, with the user's home for ``~``, which no shell sees within quotes."""
    if isinstance(path, list | tuple):
        return [_at_home(each) for each in path]
    return os.path.expanduser(path) if isinstance(path, str) else path

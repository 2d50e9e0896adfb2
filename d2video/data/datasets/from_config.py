"""Datasets that a config registers, so that yours need no Python."""

import inspect
import os
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from detectron2.data import DatasetCatalog

from d2video.utils.errors import UserError

_KEY = "DATASETS.REGISTER"
DATASET_FORMATS: dict[str, Callable[..., None]] = {}
_registered: dict[str, Any] = {}  # by name, what it was registered with

F = TypeVar("F", bound=Callable[..., None])


def dataset_format(kind: str) -> Callable[[F], F]:
    """Decorate a function that registers a dataset, so that DATASETS.REGISTER finds it as ``kind``.

    The function takes the name of the dataset and then what the format needs. All parameters have
    types; what is called root or ends in _root, _file or _json is a path.
    """

    def register(function: F) -> F:
        assert kind not in DATASET_FORMATS, f"format {kind} is registered twice"
        DATASET_FORMATS[kind] = function
        return function

    return register


def register_datasets(entries: Sequence[Sequence[Any]]) -> None:
    """Register the datasets of ``DATASETS.REGISTER``; no file is touched.

    Args:
        entries: ``[name, format, {argument: value}]``, the arguments of the function that is
            decorated with :func:`dataset_format`; ``metadata`` may be left out. ``~`` in paths is
            the user's home.

    Raises:
        UserError: an entry has another form, an unknown format or argument, lacks one or has one of
            another type; or there is another dataset of its name.
    """
    for entry in entries:
        match entry:
            case [str(name), str(kind), dict(arguments)] if name:
                register_dataset(name, kind, arguments)
            case _:
                raise UserError(
                    f"{_KEY}: entry {entry!r} must have the form [name, format, {{argument: value}}]"
                )


def register_dataset(
    name: str, kind: str, arguments: Mapping[str, Any], source: str = _KEY
) -> None:
    """Register one dataset, unless it is registered with the same arguments.

    Args:
        name, kind, arguments: as an entry of :func:`register_datasets`.
        source: what names it, for messages.

    Raises:
        UserError: as :func:`register_datasets`.
    """
    if kind not in DATASET_FORMATS:
        known = ", ".join(sorted(DATASET_FORMATS))
        raise UserError(f"{source}: {name} has the format '{kind}': choose {known}")
    wanted = inspect.signature(DATASET_FORMATS[kind])
    arguments = _complete(kind, arguments)
    try:
        wanted.bind(name, **arguments)
        for key, value in arguments.items():
            if not _fits(value, wanted.parameters[key].annotation):
                raise TypeError(f"{key} cannot be {value!r}")
    except TypeError as error:
        own = [each for key, each in wanted.parameters.items() if key != "name"]
        known = ", ".join(f"{each.name}: {_in_words(each.annotation)}" for each in own)
        where = source if source == name else f"{source}: {name}"
        raise UserError(f"{where}: {error}; {kind} takes {known}") from error
    arguments = {
        key: _at_home(value) if _is_path(key) else value for key, value in arguments.items()
    }
    if name in DatasetCatalog:
        if is_registered_as(name, kind, arguments):
            return  # for an earlier config
        raise UserError(f"{source}: there is a dataset {name} already: choose another name")
    DATASET_FORMATS[kind](name, **arguments)
    _registered[name] = kind, _absolute(arguments)


def is_registered_as(name: str, kind: str, arguments: Mapping[str, Any]) -> bool:
    """Whether :func:`register_dataset` has registered a dataset with these arguments."""
    same = kind, _absolute(_complete(kind, arguments))
    return name in DatasetCatalog and _registered.get(name) == same


def _complete(kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    has_metadata = "metadata" in inspect.signature(DATASET_FORMATS[kind]).parameters
    return {"metadata": {}, **arguments} if has_metadata else {**arguments}


def absolute_entries(entries: Sequence[Sequence[Any]]) -> list[Any]:
    """Entries of ``DATASETS.REGISTER`` that mean the same in every folder of this machine."""
    return [[*names, _absolute(arguments)] for *names, arguments in entries]


def _absolute(arguments: Mapping[str, Any]) -> dict[str, Any]:
    def absolute(path: Any) -> Any:
        if isinstance(path, list | tuple):
            return [absolute(each) for each in path]
        is_local = isinstance(path, str) and path and "://" not in path
        return os.path.abspath(os.path.expanduser(path)) if is_local else path

    return {key: absolute(value) if _is_path(key) else value for key, value in arguments.items()}


def _is_path(key: str) -> bool:
    return key in ("root", "odgt") or key.endswith(("_root", "_file", "_json"))


def _at_home(path: Any) -> Any:
    """A path, or several, with the user's home for ``~``, which no shell sees within quotes."""
    if isinstance(path, list | tuple):
        return [_at_home(each) for each in path]
    return os.path.expanduser(path) if isinstance(path, str) else path


_WORDS: dict[Any, str] = {
    **{int: "a whole number", float: "a number", str: "a text", bool: "True or False"},
    **{types.NoneType: "None", None: "None", dict: "a dict", Mapping: "a dict"},
    **{list: "a list", tuple: "a list", Sequence: "a list"},
}


def _in_words(annotation: Any) -> str:
    """What :func:`_fits` takes."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_in_words, inner))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    return _WORDS.get(origin or annotation, str(annotation))


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a literal (numbers, text, lists, dicts) is a valid value for ``annotation``.

    A bool is not a number, and text is not a sequence; a list may replace a tuple and an int for a
    float. A parameter without an annotation, or with one of another kind, takes everything.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in inner)
    if origin is tuple and ... not in inner:
        is_list = isinstance(value, list | tuple) and len(value) == len(inner)
        return is_list and all(map(_fits, value, inner))
    if origin in (Sequence, list, tuple):
        return isinstance(value, list | tuple) and all(_fits(each, inner[0]) for each in value)
    if annotation in (None, types.NoneType):
        return value is None
    if annotation in (int, float):
        allowed = (int,) if annotation is int else (int, float)
        return isinstance(value, allowed) and not isinstance(value, bool)
    if annotation in (bool, str):
        return isinstance(value, annotation)
    return origin not in (dict, Mapping) or isinstance(value, dict)

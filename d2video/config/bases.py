"""A config file and those that it builds on, looked at before detectron2 reads them all."""

import os
from typing import Any

import yaml
from detectron2.utils.file_io import PathManager

from d2video.utils.errors import UserError

_KEY = "_BASE_"
_DEEPEST = 20
# Far beyond any config; libyaml's composer overflows the stack at some 20,000 levels, and aliases of
# aliases can stand for more than any memory holds.
_MOST_CHARACTERS = 2**20
_MOST_LEVELS = 100
_MOST_VALUES = 100_000
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first is ten times as fast


def check_bases(path: str, above: tuple[str, ...] = ()) -> None:
    """Refuse a config file whose ``_BASE_`` leads back to it, or into the network, and one that would
    take the process down.

    detectron2 would read a file that is its own base a thousand times, which takes a minute. Files
    that cannot be read are left to it.

    Args:
        path: of the file.
        above: the files that build on it.

    Raises:
        UserError: a file is its own base or that of its base, bases are nested more than 20 deep, or
            one is an address; a file is longer than 1 MiB, nested more than 100 deep, or, with each
            alias in full, of more than 100,000 values.
    """
    place = os.path.realpath(path)
    if place in above or len(above) > _DEEPEST:
        raise UserError(
            f"config {path}: its {_KEY} leads back to itself or through more than {_DEEPEST} files: "
            "mend it"
        )
    try:
        with PathManager.open(path, "r") as file:
            text = file.read(_MOST_CHARACTERS + 1)
        _check_size(path, text)
        content = yaml.load(text, _Loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return
    bases = content.get(_KEY, []) if isinstance(content, dict) else []
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str):
            raise UserError(
                f"config {path}: its {_KEY} must be a file or a list of files, not {base}"
            )
        if "://" in base:
            raise UserError(f"config {path}: its {_KEY}, {base}, is no file: fetch it first")
        check_bases(os.path.join(os.path.dirname(path), os.path.expanduser(base)), (*above, place))


def _check_size(path: str, text: str) -> None:
    """Look at the parser's events, which need neither recursion nor copies."""
    if len(text) > _MOST_CHARACTERS:
        raise UserError(f"config {path} is longer than a MiB: it is no config")
    too_much = UserError(
        f"config {path} is nested more than {_MOST_LEVELS} deep, or holds more than {_MOST_VALUES} "
        "values with its aliases: it is no config"
    )
    sizes: dict[str, int | None] = {}  # of what has an anchor; None while it is open
    levels: list[tuple[str | None, int]] = [(None, 0)]  # anchor, values so far
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            if event.anchor:
                sizes[event.anchor] = None
            levels.append((event.anchor, 1))
            if len(levels) > _MOST_LEVELS:
                raise too_much
            continue
        anchor, size = getattr(event, "anchor", None), 1
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = levels.pop()
        elif isinstance(event, yaml.AliasEvent):
            found = sizes.get(event.anchor, 1)
            if found is None:
                raise UserError(f"config {path}: '*{event.anchor}' stands in itself: mend it")
            anchor, size = None, found
        elif not isinstance(event, yaml.ScalarEvent):
            continue
        if anchor:
            sizes[anchor] = size
        above, count = levels[-1]
        levels[-1] = (above, count + size)
        if count + size > _MOST_VALUES:
            raise too_much

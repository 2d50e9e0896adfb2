"""The files that a config file builds on, looked at before detectron2 reads them all."""

import os
from typing import Any

import yaml
from detectron2.utils.file_io import PathManager

from d2video.utils.errors import UserError

_KEY = "_BASE_"
_DEEPEST = 20
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first is ten times as fast


def check_bases(path: str, above: tuple[str, ...] = ()) -> None:
    """Refuse a config file whose ``_BASE_`` leads back to it, or into the network.

    detectron2 would read a file that is its own base a thousand times, which takes a minute. Files
    that cannot be read are left to it.

    Args:
        path: of the file.
        above: the files that build on it.

    Raises:
        UserError: a file is its own base or that of its base, bases are nested more than 20 deep, or
            one is an address.
    """
    place = os.path.realpath(path)
    if place in above or len(above) > _DEEPEST:
        raise UserError(
            f"config {path}: its {_KEY} leads back to itself or through more than {_DEEPEST} files: "
            "mend it"
        )
    try:
        with PathManager.open(path, "r") as file:
            content = yaml.load(file, _Loader)
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

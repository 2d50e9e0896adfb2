"""What messages call files that the user named in another way: of an archive, not of the cache."""

import os

_names: dict[str, str] = {}  # by folder


def show_as(folder: str, name: str) -> None:
    """Let messages call a folder ``name``, and what is in it ``name!/...``, from now on in this process."""
    _names[folder] = as_shown(name)


def as_shown(text: str) -> str:
    """A text with the paths that the user knows."""
    for folder, name in _names.items():
        text = text.replace(f"{folder}{os.sep}", f"{name}!/").replace(folder, name)
    return text

"""Where configs and projects are: in an installed copy, in a source checkout, in folders of users."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED_CONFIGS = _PACKAGE / "configs"
_IS_INSTALLED = _INSTALLED_CONFIGS.is_dir()
_ROOTS = [Path(root) for root in os.getenv("D2VIDEO_PROJECTS", "").split(os.pathsep) if root]
if not _IS_INSTALLED:
    _ROOTS.insert(0, _PACKAGE.parent / "projects")

# Folders <Name>/ of the projects that are here as source, by name: those of a source checkout, and those
# below the folders that the environment variable D2VIDEO_PROJECTS lists, separated as in PATH.
PROJECT_FOLDERS = {
    folder.name: folder.resolve()
    for root in _ROOTS
    if root.is_dir()
    for folder in sorted(root.iterdir())
    if folder.is_dir()
}
# Folders of configs, with what the names of their files begin with.
CONFIG_FOLDERS = [
    ("", _INSTALLED_CONFIGS if _IS_INSTALLED else _PACKAGE.parent / "configs"),
    *((f"{name}/", folder / "configs") for name, folder in PROJECT_FOLDERS.items()),
]

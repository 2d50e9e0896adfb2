"""The systems built on d2video, importable as ``d2video.projects.<name>``.

Each package is at ``<Name>/<name>/`` in a folder of projects: ``projects/`` of a source checkout, or a
folder that the environment variable ``D2VIDEO_PROJECTS`` lists (separated as in ``PATH``). Extending
``__path__`` makes the import work. In an installed copy the packages are in this folder (``setup.py``
maps them, as detectron2 maps its projects). Another distribution can name the module that registers
its system in the entry point group ``d2video.projects``.
"""

import functools
import importlib
import pkgutil
from importlib.metadata import entry_points

from d2video.utils.project_folders import PROJECT_FOLDERS

__path__.extend(map(str, PROJECT_FOLDERS.values()))


@functools.cache
def register_all() -> list[str]:
    """Import the module ``registration`` of every project.

    It registers the project's meta-architecture, config keys, mapper and evaluator. ``get_cfg`` calls
    this function, and so does ``load_cfg``.

    Returns:
        the names of the projects found, sorted.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    for name in names:
        importlib.import_module(f"{__name__}.{name}.registration")
    installed = entry_points(group=__name__)
    for point in installed:
        point.load()
    return sorted({*names, *installed.names})

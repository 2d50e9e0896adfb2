"""The systems built on d2video, importable as ``d2video.projects.<name>``.

Each lies in ``<Name>/<name>/`` below a folder of projects: ``projects/`` of a source checkout, and
every folder that the environment variable ``D2VIDEO_PROJECTS`` lists (separated as in ``PATH``);
extending ``__path__`` makes the import work. An installed copy holds the packages right here
(``setup.py`` maps them, as detectron2 maps its projects). Another distribution may name the module
that registers its system in the entry point group ``d2video.projects``.
"""

import functools
import importlib
import pkgutil
from importlib.metadata import entry_points

from d2video.utils.project_folders import PROJECT_FOLDERS

__path__.extend(map(str, PROJECT_FOLDERS.values()))


@functools.cache
def register_all() -> list[str]:
    """Import every project's module ``registration``, and with it what registers itself: its
    meta-architecture, config keys, mapper and evaluator.

    ``get_cfg`` and so ``load_cfg`` call it.

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

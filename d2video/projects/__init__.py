"""The systems built on d2video, importable as ``d2video.projects.<name>``.

An installed copy holds the project packages right here (``setup.py`` maps them, as detectron2 maps
its own projects). In a source checkout they lie in ``projects/<Name>/<name>/``; extending
``__path__`` makes the same import work there too.
"""

import importlib
import pkgutil
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2] / "projects"
if _CHECKOUT.is_dir():
    __path__.extend(str(folder) for folder in sorted(_CHECKOUT.iterdir()) if folder.is_dir())


def register_all() -> list[str]:
    """Import every project, which registers its meta-architecture, config keys, mapper and evaluator.

    Returns:
        the names of the projects found, sorted.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    for name in names:
        importlib.import_module(f"{__name__}.{name}")
    return names

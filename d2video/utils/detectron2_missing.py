"""What is said where detectron2 is not installed, which pip cannot do with d2video: PyPI has none."""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

MESSAGE = (
    "detectron2 is not installed: run 'd2video install-detectron2' or "
    "'python -m d2video install-detectron2'"
)
# What command lines and the installer import, without detectron2.
LIGHT = ("__main__", "cli", "formats", "synthetic", "utils", "visualization")


def is_missing() -> bool:
    """Whether this Python has no detectron2. A folder of that name without ``__init__.py`` is none."""
    try:
        spec = importlib.util.find_spec("detectron2")
    except (ImportError, ValueError):  # an importer refuses it, or sys.modules has None for it
        return True
    return spec is None or spec.origin is None


class RefuseRooms:
    """An importer that refuses all rooms but ``LIGHT`` with ``MESSAGE``."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, room = name.partition(".")
        if package == "d2video" and "." not in room and room not in LIGHT and is_missing():
            raise ImportError(MESSAGE, name="detectron2")
        return None


def tell_if_missing() -> None:
    """If detectron2 is missing, print a line on stderr, which importing a room then raises, too."""
    if is_missing():
        print(MESSAGE, file=sys.stderr)
        sys.meta_path.insert(0, RefuseRooms)

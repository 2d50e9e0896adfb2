"""What is said where detectron2 is not installed, which pip cannot do with d2video: PyPI has none."""

import importlib.util

MESSAGE = (
    "detectron2 is not installed: run 'd2video install-detectron2' or "
    "'python -m d2video install-detectron2'"
)


def is_missing() -> bool:
    """Whether this Python has no detectron2. A folder of that name without ``__init__.py`` is none."""
    try:
        spec = importlib.util.find_spec("detectron2")
    except (ImportError, ValueError):  # an importer refuses it, or sys.modules has None for it
        return True
    return spec is None or spec.origin is None

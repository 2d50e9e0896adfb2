"""Faults of annotation files that detectron2's and pycocotools' readers find, told to the user."""

from collections.abc import Iterator
from contextlib import contextmanager

from d2video.utils.errors import UserError

# What the readers raise for a file of another format, besides OSError.
_NOT_AS_EXPECTED = (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError)


@contextmanager
def annotation_file_errors(dataset_name: str, path: str) -> Iterator[None]:
    """Turn what readers raise within this context into a UserError of one line.

    Args:
        dataset_name: the registered dataset.
        path: its annotation file.

    Raises:
        UserError: the file or one that it names is missing, or the file is not in its format.
    """
    try:
        yield
    except (OSError, *_NOT_AS_EXPECTED) as error:
        raise UserError(
            f"dataset {dataset_name} cannot be read from {path} ({_reason(error)}): check the path "
            "and that the file is in the COCO format of the task"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{error.filename} does not exist"
    if isinstance(error, OSError):
        return str(error)
    cause = error.args[0] if error.args else ""
    text = " ".join(str(cause).split())
    if isinstance(error, KeyError) and text.isidentifier():
        return f"'{text}' is missing"
    if isinstance(error, KeyError) and isinstance(cause, int):
        return f"id {cause} is unknown"
    return text if isinstance(error, KeyError) else f"{type(error).__name__}: {text}"

"""Whether a file is still the one that was read."""

import os


def file_key(path: str) -> tuple[str, int, int] | None:
    """What names a file in its present state; None if it cannot be found."""
    try:
        status = os.stat(path)
    except OSError:  # the reader says what is wrong
        return None
    return path, status.st_mtime_ns, status.st_size

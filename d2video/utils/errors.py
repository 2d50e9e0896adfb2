"""The error for mistakes of the user, and how programs show it."""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from d2video.utils.detectron2_missing import MESSAGE, is_missing
from d2video.utils.shown_paths import as_shown

T = TypeVar("T")

_LONGEST = 2000
_HEAD, _TAIL = 1500, 400  # characters kept of a longer message
_NO_READER = 141  # the exit status that shells show of a program that SIGPIPE has ended


class UserError(Exception):
    """Something the user can repair: a wrong path, a broken file, a value that does not fit.

    The message is one line that says what is wrong, where, and what to do. It may quote an untrusted
    file, so unprintable characters (line ends, control codes) are escaped, and a very long message
    loses its middle. Violated internal invariants are assertions instead.
    """

    def __init__(self, message: str):
        # torch's DataLoader re-raises a worker's exception with the whole traceback as message.
        # ("Original" is followed by "Traceback" or, for a cause without a traceback, by its name.)
        if message.startswith("Caught ") and "\nOriginal " in message:
            message = message.rpartition(f"{type(self).__name__}: ")[2].strip()
        message = as_shown(message)
        message = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
        if len(message) > _LONGEST:
            message = f"{message[:_HEAD]} ... {message[-_TAIL:]}"
        super().__init__(message)


class BrokenFile(UserError):
    """A sample that cannot be read. Only training may go on with another."""


class BrokenCheckpoint(UserError):
    """A checkpoint that cannot be read. A resumed run may go on with its previous one."""


def exit_on_user_error(main: Callable[..., T]) -> Callable[..., T]:
    """Decorate a program's ``main``: a :class:`UserError`, or detectron2 missing, is a line on stderr and
    exit status 1. If the reader of stdout has left, as in ``d2video models | head``, the program ends
    without a word."""

    @functools.wraps(main)
    def wrapper(*args, **kwargs) -> T:
        try:
            try:
                return _with_errors_printed(main, *args, **kwargs)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            if not _reader_has_left():  # but another pipe is broken
                raise
            sys.exit(_NO_READER)

    return wrapper


def _with_errors_printed(main: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    try:
        return main(*args, **kwargs)
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "detectron2" or not is_missing():
            raise
        print(MESSAGE, file=sys.stderr)
        sys.exit(1)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _reader_has_left() -> bool:
    """Whether nobody reads stdout any more; then what is still written to it is dropped."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False

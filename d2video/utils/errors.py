"""The one error type for mistakes that a user can mend, and how the command-line tools show it."""

import functools
import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LONGEST = 2000
_HEAD, _TAIL = 1500, 400  # characters kept of a longer message


class UserError(Exception):
    """Something the user can mend: a wrong path, a broken file, a value that does not fit.

    The message is one line that says what is wrong, where, and what to do. What it quotes may come
    from a stranger's file, so characters that cannot be printed (line ends, control codes) are
    escaped, and of a very long message the middle is left out. Violated internal invariants are
    ``assert``s, never this.
    """

    def __init__(self, message: str):
        # torch's DataLoader raises a worker's exception anew with the whole traceback as message.
        # (After "Original" stands "Traceback" or, of a cause that was stripped of its own, its name.)
        if message.startswith("Caught ") and "\nOriginal " in message:
            message = message.rpartition(f"{type(self).__name__}: ")[2].strip()
        super().__init__(_one_line(message))


def _one_line(message: str) -> str:
    if not message.isprintable():
        message = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
    if len(message) > _LONGEST:
        message = f"{message[:_HEAD]} ... {message[-_TAIL:]}"
    return message


class BrokenFile(UserError):
    """A sample of the data that cannot be read. Training may go on with another; nothing else may."""


class BrokenCheckpoint(UserError):
    """A checkpoint that cannot be read. A resumed run may go on with an earlier one of its own."""


def exit_on_user_error(main: Callable[..., T]) -> Callable[..., T]:
    """Decorate a tool's ``main``: a :class:`UserError` becomes one line on stderr and exit status 1."""

    @functools.wraps(main)
    def wrapper(*args, **kwargs) -> T:
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)

    return wrapper

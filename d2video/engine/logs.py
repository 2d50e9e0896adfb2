"""What a run says: little on the console, everything in log.txt."""

import logging
import re
import sys
from pathlib import Path

from termcolor import colored

_LOGGERS = ("d2video", "detectron2", "fvcore")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_DATE = "%m/%d %H:%M:%S"


def set_up_logs(output_dir: str | None = None, rank: int = 0) -> None:
    """Send the messages of d2video, detectron2 and fvcore to the console and to ``output_dir``.

    The console shows those of process 0, without debugging ones and detectron2's three on every data
    set that it serializes. The file log.txt, in other processes log.txt.rank<number>, has all, in plain
    text.

    Args:
        output_dir: a folder that exists; None: no file.
        rank: of this process.

    Raises:
        OSError: the file cannot be opened.
    """
    handlers: list[logging.Handler] = []
    if output_dir is not None:
        name = "log.txt" if rank == 0 else f"log.txt.rank{rank}"
        handlers.append(LogFile(Path(output_dir, name)))
    if rank == 0:
        console = _ToConsole(sys.stdout)
        console.setFormatter(_Console())
        console.addFilter(_is_for_console)
        handlers.append(console)
    for logger in map(logging.getLogger, _LOGGERS):
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        for handler in logger.handlers:
            handler.close()
        # Without any, Python would print warnings to stderr.
        logger.handlers = list(handlers) or [logging.NullHandler()]


class _ToConsole(logging.StreamHandler):
    """Ends the program if the reader of its output has left, as ``print`` does."""

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            raise
        super().handleError(record)


class LogFile(logging.FileHandler):
    """A log file without colour codes. If the disk is full, it reports that once and drops messages."""

    def __init__(self, path: Path):
        super().__init__(path, encoding="utf-8")
        self.setFormatter(_Plain("[%(asctime)s] %(name)s %(levelname)s: %(message)s", _DATE))
        self._failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._failed:
            self._failed = True
            print(f"{self.baseFilename}: cannot write ({error.strerror})", file=sys.stderr)


def _is_for_console(record: logging.LogRecord) -> bool:
    least = logging.WARNING if record.name == "detectron2.data.common" else logging.INFO
    return record.levelno >= least


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _COLOURS.sub("", super().format(record))


class _Console(logging.Formatter):
    def __init__(self):
        super().__init__(colored("[%(asctime)s %(name)s]:", "green") + " %(message)s", _DATE)

    def formatMessage(self, record: logging.LogRecord) -> str:
        text = super().formatMessage(record)
        if record.levelno < logging.WARNING:
            return text
        return f"{colored(record.levelname, 'red')} {text}"

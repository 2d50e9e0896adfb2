"""The users of the page and their files: nobody sees those of another, and they go with their user."""

import secrets
import shutil
import threading
import time
from collections.abc import Iterable
from pathlib import Path

# An upload that nobody owns, as its page was closed meanwhile, goes after these seconds.
_ABANDONED = 600.0


class Users:
    """The users by their ids; a user is a browser, and its open pages are sessions.

    Uploads lie in folders by their content's hash, so that one file may belong to several users.

    Args:
        folder: an empty folder for all files.

    Attributes:
        uploads: the folder of the uploaded files.
    """

    def __init__(self, folder: Path) -> None:
        self.uploads = folder / "uploads"
        self._results = folder / "results"
        for each in (self.uploads, self._results):
            each.mkdir()
        self._lock = threading.Lock()
        self._sessions: dict[str, set[str]] = {}
        self._uploaded: dict[str, set[Path]] = {}
        self._folders: dict[tuple[str, str], Path] = {}  # by user and session

    def enter(self, user: str, session: str) -> None:
        """A page was opened."""
        with self._lock:
            self._sessions.setdefault(user, set()).add(session)

    def leave(self, user: str, session: str) -> None:
        """A page was closed: its results go, and with the last page of a user the uploads."""
        with self._lock:
            self._remove_folder(user, session)
            sessions = self._sessions.get(user, set())
            sessions.discard(session)
            if not sessions:
                self._sessions.pop(user, None)
                self._remove_uploads(self._uploaded.pop(user, set()))

    def add_uploads(self, user: str, paths: Iterable[str]) -> None:
        """Files were uploaded by a user."""
        with self._lock:
            self._uploaded.setdefault(user, set()).update(map(Path, paths))

    def owns_upload(self, user: str, path: str) -> bool:
        """Whether the user has uploaded this file."""
        return Path(path) in self._uploaded.get(user, ())

    def new_folder(self, user: str, session: str) -> Path:
        """An empty folder for results, below which no one else's are; those before it go."""
        folder = self._results / secrets.token_urlsafe(16)
        self.enter(user, session)
        with self._lock:
            self._remove_folder(user, session)
            self._folders[user, session] = folder
            folder.mkdir()
        return folder

    def remove_folder(self, user: str, session: str) -> None:
        """Remove the results, if there are any."""
        with self._lock:
            self._remove_folder(user, session)

    def result(self, user: str, folder: str, name: str) -> Path | None:
        """A file of the user's results; ``None`` if it has none of that name."""
        with self._lock:
            own = [path for (owner, _), path in self._folders.items() if owner == user]
        path = self._results / folder / name
        return path if path.parent in own and path.name == name and path.is_file() else None

    def _remove_folder(self, user: str, session: str) -> None:
        folder = self._folders.pop((user, session), None)
        if folder is not None:
            shutil.rmtree(folder)

    def _remove_uploads(self, left: set[Path]) -> None:
        """Remove what a user has left, and what was abandoned before it belonged to anyone."""
        owned = set().union(*self._uploaded.values())
        latest = time.time() - _ABANDONED
        for path in [path for path in self.uploads.rglob("*") if path.is_file()]:
            if path not in owned and (path in left or path.stat().st_mtime < latest):
                path.unlink()
                if path.parent != self.uploads:
                    path.parent.rmdir()

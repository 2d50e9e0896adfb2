"""The users of the page and their files, which no other user sees and which are deleted with the user."""

import secrets
import shutil
import threading
import time
from collections.abc import Iterable
from pathlib import Path

# Seconds after which an upload without an owner is deleted, because its page was closed meanwhile.
_ABANDONED = 600.0


class Users:
    """Users by id. A user is a browser, and its open pages are sessions.

    Uploads are stored in folders named by the hash of their content, so a file may belong to several users.

    Args:
        folder: empty folder for all files.

    Attributes:
        uploads: folder of the uploaded files.
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
        """Record that a page was opened."""
        with self._lock:
            self._sessions.setdefault(user, set()).add(session)

    def leave(self, user: str, session: str) -> None:
        """Delete the results of a closed page and, if it was the user's last one, the uploads."""
        with self._lock:
            self._remove_folder(user, session)
            sessions = self._sessions.get(user, set())
            sessions.discard(session)
            if not sessions:
                self._sessions.pop(user, None)
                self._remove_uploads(self._uploaded.pop(user, set()))

    def add_uploads(self, user: str, paths: Iterable[str]) -> None:
        """Record files that a user uploaded."""
        with self._lock:
            self._uploaded.setdefault(user, set()).update(map(Path, paths))

    def owns_upload(self, user: str, path: str) -> bool:
        """Whether the user uploaded this file."""
        return Path(path) in self._uploaded.get(user, ())

    def new_folder(self, user: str, session: str) -> Path:
        """Create an empty folder for the results of a session, and delete its previous results."""
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
        """Return a file of the user's results; ``None`` if there is none of that name."""
        with self._lock:
            own = [path for (owner, _), path in self._folders.items() if owner == user]
        path = self._results / folder / name
        return path if path.parent in own and path.name == name and path.is_file() else None

    def _remove_folder(self, user: str, session: str) -> None:
        folder = self._folders.pop((user, session), None)
        if folder is not None:
            shutil.rmtree(folder)

    def _remove_uploads(self, left: set[Path]) -> None:
        """Delete the uploads that a user left, and those abandoned before they had an owner."""
        owned = set().union(*self._uploaded.values())
        latest = time.time() - _ABANDONED
        for path in [path for path in self.uploads.rglob("*") if path.is_file()]:
            if path not in owned and (path in left or path.stat().st_mtime < latest):
                path.unlink()
                if path.parent != self.uploads:
                    path.parent.rmdir()

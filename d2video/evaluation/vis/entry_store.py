"""Entries of a result file in a temporary file, so that memory does not grow with the number of videos."""

import pickle
import tempfile
from collections.abc import Iterator
from typing import Any

Entry = dict[str, Any]


class StoredEntries:
    """The entries of one video, read again at each iteration. Pickling turns them into a list."""

    def __init__(self, store: "EntryStore", place: int, size: int) -> None:
        self._store, self._place, self._size = store, place, size

    def __iter__(self) -> Iterator[Entry]:
        yield from self._store.read(self._place, self._size)

    def __reduce__(self) -> tuple[type, tuple[list[Entry]]]:
        return list, ([*self],)


class EntryStore:
    """A file without a name, which is gone when the store is."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the store
        self._end = 0

    def put(self, entries: list[Entry]) -> StoredEntries:
        """Write the entries of a video."""
        data = pickle.dumps(entries, pickle.HIGHEST_PROTOCOL)
        self._file.seek(self._end)
        self._file.write(data)
        stored = StoredEntries(self, self._end, len(data))
        self._end += len(data)
        return stored

    def read(self, place: int, size: int) -> list[Entry]:
        self._file.seek(place)
        return pickle.loads(self._file.read(size))

"""Which videos have been finished in a folder of outputs, and by what settings.

In the folder::

    .d2video/settings.json               {setting: value} of all its files
    .d2video/finished-<host>-<pid>.jsonl  of one process: a line for each video that it has finished,
                                         {"name": of its files, "id": of the video, "video": its source}
"""

import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from d2video.formats.text import read_json
from d2video.utils.addresses import address_in, address_of, local_path
from d2video.utils.errors import UserError
from d2video.utils.files import finite, partial_path, write_json
from d2video.utils.sources import source_name
from d2video.video.pictures import own_name

_HIDDEN = ".d2video"
_LONGEST_NAME = 150  # characters; with the rest of a partial file's name it fits into 255 bytes


class Ledger:
    """What one folder holds. Read in one process; each process adds what it has finished.

    Args:
        folder: it need not exist.
        suffixes: of the files of each video.
    """

    def __init__(self, folder: Path, suffixes: frozenset[str]) -> None:
        self.folder = folder
        self.suffixes = suffixes
        self._owners: dict[str, str] = {}  # ids of videos by name
        self._files: set[str] = set()

    def read(self, settings: Mapping[str, Any]) -> None:
        """Read what is finished, and note the settings if the folder has none.

        Args:
            settings: of what will be added; JSON values.

        Raises:
            UserError: what is there was made with other settings, or the folder cannot be written.
        """
        path = partial_path(self.folder / _HIDDEN / "settings.json").with_name("settings.json")
        if path.is_file():
            before, now = read_json(str(path)), finite(dict(settings))
            for key in now:
                # A key that was not there is of a newer version.
                if key in before and before[key] != now[key]:
                    raise UserError(
                        f"{self.folder} holds results with {key} {before[key]}, and now it is {now[key]}: "
                        "give another folder, or delete this one to start over"
                    )
        else:
            write_json(path, settings)
        self._files = {*os.listdir(self.folder)}
        for journal in path.parent.glob("finished-*.jsonl"):
            self._owners |= _entries(journal)

    def is_finished(self, name: str, video: str) -> bool:
        """Whether all files of a video, by its id, are there."""
        return self._owners.get(name) == video and all(
            name + suffix in self._files for suffix in self.suffixes
        )

    def owner(self, name: str) -> str | None:
        """The id of the video whose files have a name."""
        return self._owners.get(name)

    def add(self, name: str, source: Any) -> None:
        """Note that a video is finished, after its files are there."""
        entry = {"name": name, "id": video_id(source), "video": source_name(source)}
        journal = f"finished-{socket.gethostname()}-{os.getpid()}.jsonl"
        # The line end comes first: a process of this name may have been killed within a line.
        with open(self.folder / _HIDDEN / journal, "a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps(entry)}\n")


def _entries(journal: Path) -> dict[str, str]:
    owners = {}
    with open(journal, encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("}\n"):  # else its process was killed
                entry = json.loads(line)
                owners[entry["name"]] = entry["id"]
    return owners


def video_id(source: Any) -> str:
    """12 hexadecimal digits, of the whole path or address of a video."""
    if isinstance(source, str | os.PathLike):
        address = address_in(source)  # also of a path, as file://
        if address is None:
            source = os.path.abspath(source)  # a million of them: without a Path
        else:
            source = address_of(source) or os.path.abspath(local_path(source))
    return hashlib.sha256(str(source).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def unfinished(sources: list[Any], ledgers: list[Ledger]) -> Iterator[tuple[Any, str]]:
    """The videos that one of the folders lacks, each with the name of its files.

    A name is that of the video's file, without suffix. Of several videos with the same one, the first
    has it, and the others have their id behind it. A video keeps the name by which it was finished,
    whatever videos are added to the list. A video that is listed twice comes once.
    """
    taken: set[str] = set()
    seen: set[str] = set()
    for source in sources:
        video = video_id(source)
        if video in seen:
            continue
        seen.add(video)
        plain = os.path.splitext(own_name(source))[0][:_LONGEST_NAME] or "video"
        long = f"{plain}_{video}"
        finished = (
            all(each.is_finished(name, video) for each in ledgers) for name in (plain, long)
        )
        if not (ledgers and any(finished)):
            owners = {each.owner(plain) for each in ledgers} - {None}
            is_free = owners == {video} or not (owners or plain in taken)
            yield source, plain if is_free else long
        taken.add(plain)

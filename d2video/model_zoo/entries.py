"""The table of published weights. Each project adds its rows in ``projects/<Name>/<name>/zoo.py``."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from detectron2.modeling import META_ARCH_REGISTRY

from d2video.config import load_cfg
from d2video.data.class_names import class_names
from d2video.fetching import KnownFile, is_address, register_file, web_page


@dataclass(frozen=True)
class Entry:
    """A published file of weights.

    Attributes:
        system: folder of the model in ``projects/``.
        config: config below ``configs/``, without ``.yaml``; "": no config builds the file's network.
        file_name: the authors' name of the file.
        addresses: URLs for :func:`d2video.fetching.fetch`. If the first does not have the file, the others
            are tried. ``by-hand://`` marks a file that no program can download.
        task, data: what the model does, and what it was trained on.
        metric: published figures; none of them was measured with this code.
        format: name of the format in ``CONVERTER_REGISTRY``.
        licence: licence of the authors' repository, which includes the files.
        page: page where the authors publish the file.
        sha256: SHA-256 in hexadecimal digits, or their beginning; "": not published.
        size: approximate size with its unit; "": not published.
        opts: config keys and values with which the model predicts as in the authors' code.
        note: further remarks, for example that the URL is dead.
    """

    system: str
    config: str
    file_name: str
    addresses: tuple[str, ...]
    task: str
    data: str
    metric: str
    format: str
    licence: str
    page: str
    sha256: str = ""
    size: str = ""
    opts: tuple[Any, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        assert self.addresses, self.file_name
        assert all(map(is_address, self.addresses)), self.file_name

    @property
    def is_by_hand(self) -> bool:
        """Whether the user must put the file into the cache manually."""
        return self.addresses[0].startswith("by-hand://")

    @property
    def class_names(self) -> list[str]:
        """Class names by index, known without data on disk; empty for a model without classes."""
        if not self.config:
            return []
        cfg = load_cfg(self.config, [])
        model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)
        return (class_names(*cfg.DATASETS.TRAIN) if model.task.has_classes else None) or []

    @property
    def link(self) -> str:
        """URL of the file, or of the page where the user finds it."""
        return self.page if self.is_by_hand else web_page(self.addresses[0])


ENTRIES: list[Entry] = []


def register_entries(entries: Iterable[Entry]) -> None:
    """Add rows to the table and register their files for download."""
    for entry in entries:
        assert not entry.config or all(each.config != entry.config for each in ENTRIES), entry
        ENTRIES.append(entry)
        main, *others = entry.addresses
        known = KnownFile(
            sha256=entry.sha256,
            page=entry.page,
            file_name=entry.file_name,
            note="; ".join(filter(None, (entry.size and f"about {entry.size}", entry.note))),
            fallbacks=tuple(others),
        )
        register_file(main, known)
    ENTRIES.sort(key=lambda entry: entry.system)  # in any order of imports

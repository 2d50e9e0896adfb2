"""Text and JSON files from elsewhere, read under one set of rules."""

import json
import reprlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from typing import Any

from detectron2.utils.file_io import PathManager

from d2video.formats.annotation_doubts import alike_names
from d2video.formats.faults import EntryError, Fault, Report, refuse, reporting
from d2video.utils.errors import UserError
from d2video.utils.limits import size_fault

# What reading an entry of another kind than expected raises.
NOT_AS_EXPECTED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)

_PACKED = {
    **{b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz"},
    **{b"7z\xbc\xaf": "7z", b"Rar!": "rar"},
}


def read_bytes(path: str) -> bytes:
    """The content of a file, local or anything that detectron2's PathManager reads.

    Raises:
        UserError: it does not exist or cannot be read.
    """
    try:
        with PathManager.open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise UserError(
            f"file {path} does not exist: set DETECTRON2_DATASETS or correct the path"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def read_lines(path: str) -> list[str]:
    """The lines of a UTF-8 file, without line ends and byte order mark.

    Raises:
        UserError: it does not exist, cannot be read, or is not text.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file: fetch or write it again") from error
    # Not splitlines, which also splits at characters that no editor counts as line ends.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def packing_of(start: bytes) -> str | None:
    """What packed a file, by its first bytes; None: nothing that is known."""
    return next((name for mark, name in _PACKED.items() if start.startswith(mark)), None)


def read_json(path: str, **options: Any) -> Any:
    """The content of a JSON file, by ``json.loads`` with these options.

    Raises:
        UserError: the file does not exist, cannot be read, is packed, or is not JSON, or its outermost
            object has a key twice.
    """
    content = read_bytes(path)
    packed = packing_of(content)
    if packed is not None:
        raise UserError(
            f"file {path} is packed ({packed}): unpack it, and give the JSON file in it"
        )
    try:
        if not content or content.isspace():
            raise ValueError("it is empty")
        parsed = parse_json(content, **options)
    except ValueError as error:
        raise UserError(f"file {path} is not JSON ({error}): fetch or write it again") from None
    repeated = _repeated_key(content, parsed)
    if repeated is not None:
        raise UserError(
            f"{path}: the key {as_json(repeated)} is there twice, and only the last would be read: make "
            "one of them"
        )
    return parsed


def _repeated_key(content: bytes, parsed: Any) -> str | None:
    """A key that the outermost object has twice."""
    # Looking at all objects takes several times as long as json, and counting next to no time.
    if not isinstance(parsed, dict):
        return None
    names = (f'"{key}"'.encode(errors="surrogatepass") for key in parsed)
    if all(content.count(name) < 2 for name in names):
        return None
    outermost: list[tuple[str, Any]] = []

    def keep_last(pairs: list[tuple[str, Any]]) -> None:
        outermost[:] = pairs

    parse_json(content, object_pairs_hook=keep_last)
    keys = Counter(key for key, _ in outermost)
    return next((key for key, count in keys.items() if count > 1), None)


def parse_json(text: str | bytes, **options: Any) -> Any:
    """``json.loads``, for which nesting beyond Python's recursion limit is a ValueError, too."""
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("nested too deeply") from None


class _ShortJSON(reprlib.Repr):
    def repr_NoneType(self, value: None, level: int) -> str:
        return "null"

    def repr_bool(self, value: bool, level: int) -> str:
        return "true" if value else "false"


# A value from JSON in messages, abbreviated where it is long.
as_json = _ShortJSON().repr


def json_kind(value: Any) -> str:
    """What a value from JSON is, in words: "a list", "an object", "a text", "a number", null, true."""
    kinds = {list: "a list", dict: "an object", str: "a text", int: "a number", float: "a number"}
    return kinds.get(type(value)) or as_json(value)


def json_entries(
    content: dict[str, Any],
    key: str,
    path: str,
    report: Report,
    *,
    kind: str = "",
    name: str = "id",
) -> Iterator[tuple[AbstractContextManager[None], dict[str, Any]]]:
    """The objects of a list, each with the context (:func:`reporting`) in which to read it.

    What is not an object is reported.

    Args:
        content: of the file, or an object in it.
        key: of the list.
        path, report: of the file, and what takes its faults.
        kind: what faults call an entry; by default the singular of ``key``.
        name: the key under which an entry has its id.

    Raises:
        UserError: there is no list.
    """
    entries = content.get(key)
    if not isinstance(entries, list):
        raise UserError(f"{path}: '{key}' must be a list of objects; correct the file")
    kind = kind or (f"{key[:-3]}y" if key.endswith("ies") else key[:-1])
    for number, fields in enumerate(entries):
        if not isinstance(fields, dict):
            report(Fault(path, kind, f"[{number}]", "it is not an object; correct the file"))
            continue
        identity = fields.get(name)
        if identity is None:
            identity = f"[{number}]"
        elif not is_id(identity) and not isinstance(identity, str):
            identity = as_json(identity)
        yield reporting(report, path, kind, identity), fields


def read_categories(
    content: dict[str, Any], path: str, report: Report = refuse, *, without: Any = None
) -> dict[int, str]:
    """The list ``categories`` as id → name, ids ascending; but for the one of the id ``without``.

    Without a category all that refers to it would be at fault, so that their own faults end the
    reading. Names that differ only in case, spaces or underscores are a doubt for ``report``.

    Raises:
        UserError: the list is missing or empty, an id is not a whole number, a name not a text,
            or two categories have the same id or name.
    """
    names: dict[int, str] = {}
    for entry, fields in json_entries(content, "categories", path, refuse):
        with entry:
            identity: Any = fields.get("id")
            name = fields.get("name")
            if not is_id(identity):
                raise EntryError("its id must be a whole number; correct it")
            if identity == without:
                continue
            if not isinstance(name, str):
                raise EntryError("its name must be a text; correct it")
            if not name and is_annotated(content, identity):
                raise EntryError("its name is empty, but annotations have it; give it a name")
            if identity in names:
                raise EntryError("its id is there twice; give every category its own")
            if name in names.values():
                raise EntryError(f"its name, {name!r}, is there twice; make one category of them")
            names[identity] = name
    if not names:
        raise UserError(f"{path}: 'categories' is empty; add them to the file")
    doubt = alike_names(path, names.values())
    if doubt is not None:
        report(doubt)
    return dict(sorted(names.items()))


def is_annotated(content: dict[str, Any], category: int | None) -> bool:
    """Whether an annotation has the category of this id."""
    labels = content.get("annotations")
    return isinstance(labels, list) and any(
        isinstance(label, dict) and label.get("category_id") == category for label in labels
    )


def is_id(value: Any) -> bool:
    """Whether a value from JSON is a whole number (True is not, nor 1.0) of 64 bits."""
    return type(value) is int and -(2**63) <= value < 2**63


def check_size(height: Any, width: Any) -> None:
    """Raise an EntryError unless a stated size of an image is one, in whole pixels."""
    if type(height) is not int or type(width) is not int:
        size = f"{as_json(width)}x{as_json(height)}"
        raise EntryError(f"its size, {size}, must be whole numbers of pixels; correct it")
    fault = size_fault(height, width)
    if fault:
        raise EntryError(f"{fault}; correct it")


def ids_without(entries: list[Any], known: Collection[Any]) -> list[Any]:
    """The ids of entries that are not among the ``known``: what refers to them is not at fault."""
    if len(known) == len(entries):
        return []
    ids = [entry.get("id") for entry in entries if isinstance(entry, dict)]
    return [each for each in ids if each not in [*known]]  # some cannot be hashed

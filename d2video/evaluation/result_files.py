"""JSON files of results: read, and their entries checked; the first fault is named with its place."""

import lzma
import math
import os
import reprlib
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from d2video.formats.text import is_id, json_kind, parse_json
from d2video.utils.errors import UserError

RESULTS_NAME = "results.json"
_LARGEST = 2**31  # bytes of an unpacked file


def read_results(path: str | os.PathLike[str]) -> Any:
    """The content of a result file, ``.json`` or the server's ``.zip``, unchecked.

    Raises:
        UserError: the file is missing, is damaged, is not JSON, or is a zip file without
            ``results.json`` at its top.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"result file {path} does not exist: correct the path")
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                if RESULTS_NAME not in archive.namelist():
                    held = ", ".join(archive.namelist()[:3]) or "nothing"
                    raise UserError(
                        f"{path} holds {held} but no {RESULTS_NAME} at its top: zip the file "
                        "without its folder"
                    )
                size = archive.getinfo(RESULTS_NAME).file_size
                if size > _LARGEST:
                    raise UserError(
                        f"{path}: its {RESULTS_NAME} would have {size} bytes, more than the "
                        f"{_LARGEST} that are read: keep fewer tracks"
                    )
                return parse_json(archive.read(RESULTS_NAME))
        return parse_json(path.read_bytes())
    # What zipfile raises on damaged archives: besides its own, of a bad offset or compression.
    except (
        *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
        *(NotImplementedError, RuntimeError, OverflowError),
    ) as error:
        raise UserError(f"{path} is not a valid zip file ({error}): write it again") from error
    except ValueError as error:  # JSONDecodeError, or UnicodeDecodeError for binary files
        raise UserError(f"{path} is not JSON ({error}): write it again") from error


def check_entries(results: Any, source: str, find_fault: Callable[[Any], str | None]) -> None:
    """
    Args:
        results: as parsed from JSON.
        source: name of the file, for the message.
        find_fault: what is wrong with an entry and where, to follow its number in the message.

    Raises:
        UserError: it is not a list, or names the first fault.
    """
    if not isinstance(results, list):
        raise UserError(
            f"{source} must be a list of entries, not {json_kind(results)}; write it again"
        )
    for index, entry in enumerate(results):
        fault = find_fault(entry)
        if fault is not None:
            raise UserError(f"{source}: entry {index}{fault}")


def fields_fault(
    entry: Any,
    fields: Sequence[str],
    near: Mapping[str, str],
    known: Mapping[str, Any],
    source: str,
) -> str | None:
    """The fault of an entry that is not an object with these fields, with known ids and a finite score.

    Args:
        near: what results of another kind have in a field's place.
        known: the ids that the labels, ``source``, have (a collection), by field.
    """
    if not isinstance(entry, dict):
        return f": must be an object with {', '.join(fields)}, not {json_kind(entry)}"
    for name in fields:
        if name not in entry:
            other = near.get(name)
            found = f" (it has {other}, as other results have)" if other in entry else ""
            return f": the field {name} is missing{found}; add it"
    faults = (_id_fault(name, entry[name], ids, source) for name, ids in known.items())
    return next(filter(None, faults), None) or _score_fault(entry["score"])


def _id_fault(name: str, value: Any, known: Collection[Any], source: str) -> str | None:
    """The fault of an id that is not one of those of the labels, ``source``, all numbers or all texts.

    ``known`` may be a mapping to names, which some programs write.
    """
    if isinstance(next(iter(known), 0), str):
        if not isinstance(value, str):
            return f", {name}: must be a text, not {json_kind(value)} ({reprlib.repr(value)})"
    elif not is_id(value):
        names = known if isinstance(known, Mapping) else {}
        named = [i for i, each in names.items() if each == value]
        if named:
            return f", {name}: {value!r} is the name of category {named[0]}; write its number"
        return f", {name}: must be a whole number, not {json_kind(value)} ({reprlib.repr(value)})"
    if value not in known:
        return f", {name}: {value} is not in {source}; use the ids of that file"
    return None


def _score_fault(score: Any) -> str | None:
    """The fault of a score that is not a finite number."""
    if isinstance(score, bool) or not isinstance(score, int | float):
        return f", score: must be a number, not {json_kind(score)}"
    return None if math.isfinite(score) else f", score: must be finite, not {score}"

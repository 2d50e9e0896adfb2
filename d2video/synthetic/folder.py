"""Folders of generated data: they appear whole, are reused, and replace nothing by mistake."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from d2video.synthetic.spec import ShapesSpec
from d2video.utils.errors import UserError

# Raised when the same arguments give other pixels than before, so that old folders are not reused.
GENERATOR_VERSION = 1
SPEC_FILE = "spec.json"
# The fields that ShapesSpec had when GENERATOR_VERSION became what it is.
_FIRST_FIELDS = {
    *("num_frames", "height", "width", "duration", "max_objects", "classes", "size"),
    *("camera_motion", "noise", "class_textures", "class_colours"),
    *("texture_contrast", "background_contrast"),
}


def write_folder(
    root: str | os.PathLike,
    splits: Mapping[str, int],
    spec: Any,
    seed: int,
    options: Mapping[str, Any],
    write_split: Callable[[Path, str, int], None],
    *,
    entries: Callable[[str], Iterable[str]],
    shared: Iterable[str] = (),
    reuse: bool,
    overwrite: bool,
) -> bool:
    """Make the folder ``root`` with all splits and a ``spec.json`` that says how it was made.

    The folder appears under its name only when it is complete.

    Args:
        splits: name of each split and how many videos or images it has.
        spec: what they look like, a dataclass of plain values.
        options: what the content depends on besides splits, spec and seed (plain JSON values).
        write_split: called with a folder, the name of a split and its length, for every split.
        entries: the files and folders right under ``root`` that belong to one split, by its name.
        shared: those that belong to all splits together.
        reuse: keep a folder that was made with the same arguments.
        overwrite: replace a folder of this generator that was made with other arguments (or, with
            ``reuse=False``, any). Other folders are never replaced.

    Returns:
        True if the folder was written, False if the one there was kept.

    Raises:
        UserError: for a ``root`` that cannot be created, or that exists and is neither to be reused
            nor to be replaced, a split that is empty or has a name no folder can have, and two
            splits that would share a file.
    """
    root = Path(root)
    _check_splits(root, splits, entries, {SPEC_FILE, *shared})
    record = {
        "generator": "d2video.synthetic",
        "version": GENERATOR_VERSION,
        "arguments": {"splits": dict(splits), "spec": _spec_record(spec), "seed": seed, **options},
    }
    record = json.loads(json.dumps(record))  # tuples become lists, as in a record read from disk
    if _keep_existing(root, record, reuse, overwrite):
        return False

    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{root.name}.partial-", dir=root.parent))
    except OSError as error:
        raise UserError(f"cannot make a folder in {root.parent}: {error.strerror}") from error
    try:
        for name, count in splits.items():
            write_split(partial, name, count)
        (partial / SPEC_FILE).write_text(json.dumps(record, indent=1) + "\n")
        partial.chmod(0o755)  # mkdtemp makes it private
        if root.exists():
            shutil.rmtree(root)
        partial.rename(root)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return True


def _check_splits(
    root: Path,
    splits: Mapping[str, int],
    entries: Callable[[str], Iterable[str]],
    taken: set[str],
) -> None:
    if not splits or any(count < 1 for count in splits.values()):
        raise UserError(
            f"shapes dataset {root}: every split needs at least one video or image: {splits}"
        )
    for name in splits:
        own = set(entries(name))
        if name in ("", "..") or name != Path(name).name or own & taken:
            raise UserError(f"shapes dataset {root}: {name!r} cannot be the name of a split")
        taken = taken | own


def _spec_record(spec: Any) -> dict[str, Any]:
    """The specification, but of the fields that are younger than GENERATOR_VERSION only those in use.

    So older folders are still reused.
    """
    if not isinstance(spec, ShapesSpec):
        return asdict(spec)
    return {
        field.name: getattr(spec, field.name)
        for field in fields(spec)
        if field.name in _FIRST_FIELDS or getattr(spec, field.name) != field.default
    }


def _keep_existing(root: Path, record: dict, reuse: bool, overwrite: bool) -> bool:
    """Whether ``root`` holds what ``record`` describes; refuses to touch what it must not."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / SPEC_FILE).read_text())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("generator") != record["generator"]:
        raise UserError(f"{root} exists and is no generated shapes dataset: choose another folder")
    if reuse and found == record:
        return True
    if not overwrite:
        state = "the same" if found == record else "other"
        raise UserError(
            f"{root} holds a shapes dataset made with {state} arguments ({root / SPEC_FILE}): "
            "choose another folder or ask for it to be overwritten"
        )
    return False

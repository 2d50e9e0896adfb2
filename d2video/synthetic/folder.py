"""Folders of generated data: they appear whole, are reused, and replace nothing by mistake.

Each writer of such folders registers the formats that it writes.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from d2video.synthetic.render import video_rng
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


Samples = Iterator[tuple[int, np.random.Generator]]
"""The numbers of a split's videos or images, from 0, and the source of all draws of each."""


class Format(NamedTuple):
    """A format of generated data, as d2video make-shapes offers it.

    Attributes:
        write: ``write(root, splits, spec, seed, **options, overwrite=...)``.
        spec: what videos or images look like by default, a dataclass.
        fixed: options of ``write`` that make the format.
        options: those that are left to choose, by name, with their defaults.
        unused: fields of the specification that do not matter.
    """

    write: Callable[..., bool]
    spec: Any
    fixed: dict[str, Any]
    options: dict[str, Any]
    unused: tuple[str, ...]

    def choices(self) -> dict[str, Any]:
        """What may be chosen, by name, with defaults: fields of the specification, and options."""
        fields = {name: v for name, v in vars(self.spec).items() if name not in self.unused}
        return {**fields, **self.options}


FORMATS: dict[str, Format] = {}


def register_format(
    name: str,
    spec: Any,
    fixed: dict[str, Any] | None = None,
    unused: tuple[str, ...] = (),
    **options: Any,
) -> Callable[[Callable[..., bool]], Callable[..., bool]]:
    """Register the decorated writer under the name of a format; see :class:`Format`."""

    def register(write: Callable[..., bool]) -> Callable[..., bool]:
        FORMATS[name] = Format(write, spec, fixed or {}, options, unused)
        return write

    return register


def write_folder(
    root: str | os.PathLike,
    splits: Mapping[str, int],
    spec: Any,
    seed: int,
    options: Mapping[str, Any],
    write_split: Callable[[Path, str, Samples], None],
    *,
    entries: Callable[[str], Iterable[str]] = lambda name: (name,),
    shared: Iterable[str] = (),
    reuse: bool = True,
    overwrite: bool = False,
    progress: bool = True,
) -> bool:
    """Make the folder ``root`` with all splits and a ``spec.json`` that says how it was made.

    The folder appears under its name only when it is complete.

    Args:
        splits: name of each split and how many videos or images it has.
        spec: what they look like, a dataclass of plain values.
        seed: sample ``index`` of a split depends on seed, split name, index and options alone.
        options: what the content depends on besides splits, spec and seed (plain JSON values).
        write_split: called with a folder, the name of a split and its samples, for every split.
        entries: the files and folders right under ``root`` that belong to one split, by its name.
        shared: those that belong to all splits together.
        reuse: keep a folder that was made with the same arguments.
        overwrite: replace a folder of this generator that was made with other arguments (or, with
            ``reuse=False``, any). Other folders are never replaced.
        progress: show a progress bar per split.

    Returns:
        True if the folder was written, False if the one there was kept.

    Raises:
        UserError: for a ``jpeg_quality`` outside 1..100, a ``root`` that cannot be created, or that
            exists and is neither to be reused
            nor to be replaced, a split that is empty or has a name no folder can have, and two
            splits that would share a file.
    """
    root = Path(root)
    if not 1 <= options.get("jpeg_quality", 95) <= 100:
        raise UserError(
            f"shapes dataset {root}: jpeg_quality is {options['jpeg_quality']}, must be 1..100"
        )
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
            bar = tqdm(range(count), desc=name, disable=not progress)
            write_split(partial, name, ((index, video_rng(seed, name, index)) for index in bar))
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
        raise UserError(
            f"{root} exists and is not a generated shapes dataset: choose another folder"
        )
    if reuse and found == record:
        return True
    if not overwrite:
        state = "the same" if found == record else "other"
        raise UserError(
            f"{root} holds a shapes dataset made with {state} arguments ({root / SPEC_FILE}): "
            "choose another folder, or overwrite it"
        )
    return False

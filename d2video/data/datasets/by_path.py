"""Datasets by the path of their labels: the format and the folder of the images are found."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from detectron2.data import DatasetCatalog

import d2video.formats.readers  # noqa: F401  registers the formats
from d2video.data.datasets.from_config import is_registered_as, register_dataset
from d2video.formats.labels.exports import find_exports
from d2video.formats.labels.label_formats import LABEL_FORMATS
from d2video.formats.labels.recognition import RECOGNISERS, Seen, exists, only_json_file, unpacked
from d2video.formats.mot_labels import read_class_numbers
from d2video.formats.mot_rules import WITHOUT_CLASSES
from d2video.formats.standard_formats import (
    find_image_root,
    mot_benchmark,
    mot_sequences,
)
from d2video.utils.errors import UserError
from d2video.utils.near_names import did_you_mean

_named: set[str] = set()  # of the datasets that are named by their paths
# Formats of files that say all that is needed of images.
_WITHOUT_IMAGES = ("coco", "cocovid", "ytvis")


def register_path(path: str, **given: Any) -> str:
    """Register the labels at a path, unless they are registered with the same arguments.

    Args:
        given: as :func:`path_entry` takes it.

    Returns:
        the name of the dataset.

    Raises:
        UserError: as :func:`path_entry`; the format does not take an option; or there is another dataset of
            this name.
    """
    entry = path_entry(path, **given)
    register_dataset(*entry, source=path)
    if not given.get("name"):
        _named.add(entry[0])
    return entry[0]


def is_path(name: str) -> bool:
    """Whether labels are named by their path; a dataset that has this name otherwise comes first."""
    is_free = name not in DatasetCatalog or name in _named
    return is_free and exists(os.path.expanduser(name))


def path_entry(
    path: str,
    *,
    format: str | None = None,
    image_root: str | None = None,
    name: str | None = None,
    needs_images: bool = True,
    **options: Any,
) -> tuple[str, str, dict[str, Any]]:
    """The entry of DATASETS.REGISTER (name, format, arguments) of the labels at a path.

    Args:
        path: of the file, the folder or the zip archive, as a tool or a benchmark wrote it.
        format: one of :data:`~d2video.formats.labels.recognition.RECOGNISERS`; None: recognised.
        image_root: where the frames or images are; None: they are looked for.
        name: of the dataset; None: the path.
        needs_images: False: images of YouTube-VIS' and COCO's files need not be there.
        options: further arguments of the format in DATASETS.REGISTER.

    Raises:
        UserError: there is nothing at the path, its format is not known, or its images are not found.
    """
    path = os.path.expanduser(path)
    if format is not None and format not in RECOGNISERS:
        hint = did_you_mean(format, RECOGNISERS, f"choose {', '.join(sorted(RECOGNISERS))}")
        raise UserError(f"{path}: '{format}' is not a format of labels at a path: {hint}")
    exports = find_exports(path, format)
    format = exports.format
    if not needs_images and format in _WITHOUT_IMAGES:
        options["needs_images"] = False
    if image_root is not None:
        options["image_root"] = os.path.expanduser(image_root)
    if format in LABEL_FORMATS:
        arguments = {"root": path, **options}
    else:
        first, *others = exports.places.values()
        if others:
            raise UserError(
                f"{path} holds {len(exports.places)} sets in {format}'s format, which are not read as one: "
                f"name them one by one, such as {first.path}"
            )
        arguments = _ARGUMENTS[format](path, first, options)
    return name or _free_name(os.path.normpath(path), format, arguments), format, arguments


def register_names(names: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """Register the names that are paths of labels, see :func:`register_path`.

    Returns:
        all names; and the entries of DATASETS.REGISTER of the paths.
    """
    entries = {name: path_entry(name) for name in names if is_path(name)}
    for path, entry in entries.items():
        register_dataset(*entry, source=path)
        _named.add(entry[0])
    known = [entries[name][0] if name in entries else name for name in names]
    return known, [[*entry] for entry in entries.values()]


def _free_name(name: str, kind: str, arguments: dict[str, Any]) -> str:
    """The path, or one with a number after it, if it has other labels already."""
    chosen, number = name, 1
    while chosen in DatasetCatalog and not is_registered_as(chosen, kind, arguments):
        number += 1
        chosen = f"{name} ({number})"
    return chosen


def _json_arguments(path: str, seen: Seen, options: dict[str, Any]) -> dict[str, Any]:
    needs_images, root = options.pop("needs_images", True), options.get("image_root")
    if root is None:
        root = find_image_root(seen, path, needs_images=needs_images)
    root = unpacked(root)
    return {**options, "json_file": only_json_file(seen.path), "image_root": root}


def _panoptic_arguments(path: str, seen: Seen, options: dict[str, Any]) -> dict[str, Any]:
    if not {"image_root", "panoptic_root"} <= options.keys():
        raise UserError(
            f"{path} is in COCO's panoptic format, to which two folders belong, of the images and of the "
            "label images: register it in DATASETS.REGISTER as coco_panoptic, and use its name"
        )
    return {**options, "panoptic_json": only_json_file(seen.path)}


def _mot_arguments(path: str, seen: Seen, options: dict[str, Any]) -> dict[str, Any]:
    if "image_root" in options:
        raise UserError(
            f"{path}: image_root cannot be given: images of MOTChallenge's format are in it"
        )
    root, sequences = os.path.abspath(seen.path), mot_sequences(os.path.abspath(seen.path))
    if not sequences:
        raise UserError(
            f"{path} holds no sequence of MOTChallenge, a folder with gt/gt.txt or seqinfo.ini: give its "
            "folder, or name the format that it has"
        )
    if os.path.dirname(sequences[0]) != root:  # the path is that of a sequence
        options = {"sequences": [os.path.basename(sequences[0])], **options}
        root = os.path.dirname(sequences[0])
    arguments = {"benchmark": mot_benchmark(sequences), **options, "root": root}
    files = [os.path.join(folder, "gt", "gt.txt") for folder in sequences]
    listed = [*dict.fromkeys(each for file in files for each in read_class_numbers(file).items())]
    if listed and arguments["benchmark"] not in WITHOUT_CLASSES:
        names, numbers = ([*dict.fromkeys(each)] for each in zip(*listed))
        is_one_to_one = len(names) == len(numbers) == len(listed)
        arguments = {"classes": dict(zip(numbers, names)) if is_one_to_one else names, **arguments}
    return arguments


# Of the formats that have no reader of label sets: the path, what is there and further arguments -> those of
# the format in DATASETS.REGISTER.
_ARGUMENTS: dict[str, Callable[[str, Seen, dict[str, Any]], dict[str, Any]]] = {
    "coco": _json_arguments,
    "coco_panoptic": _panoptic_arguments,
    "mot": _mot_arguments,
    "ytvis": _json_arguments,
}

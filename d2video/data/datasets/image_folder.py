"""Images to be restored: folders of clean ones, and pairs of a degraded and a clean one.

Layouts are in docs/formats/restoration.md. Clean images are not opened before they are used; of
pairs the sizes are read.
"""

import logging
import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.data.datasets.from_config import dataset_format
from d2video.data.records import RestorationRecord
from d2video.formats.faults import Fault, Report, refuse
from d2video.utils.errors import UserError
from d2video.video.image_io import IMAGE_SUFFIXES, exif_advice, read_image_size

logger = logging.getLogger(__name__)

_NAME = "{name}"  # in patterns


@dataset_format("image_folder")
def register_image_folder(
    name: str, image_root: str, *, task: str | None = None, recursive: bool = True
) -> None:
    """Register a folder of clean images, read on first use: see :func:`load_image_folder`."""
    load = partial(load_image_folder, image_root, task=task, recursive=recursive)
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(evaluator_type="restoration", image_root=image_root)


@dataset_format("image_pairs")
def register_image_pairs(
    name: str,
    clean_root: str,
    degraded_root: str | Sequence[str],
    task: str,
    *,
    scale: int = 1,
    clean_pattern: str = "{name}",
    degraded_pattern: str = "{name}",
) -> None:
    """Register pairs of images, read on first use: see :func:`load_image_pairs`."""
    load = partial(
        load_image_pairs,
        *(clean_root, degraded_root, task),
        scale=scale,
        clean_pattern=clean_pattern,
        degraded_pattern=degraded_pattern,
    )
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(evaluator_type="restoration", image_root=clean_root)


def load_image_folder(
    image_root: str, *, task: str | None = None, recursive: bool = True
) -> list[RestorationRecord]:
    """All images of a folder, sorted by path; hidden files and folders are left out.

    Args:
        image_root: the folder.
        task: of IPT, for which degraded images are made of these; None: whichever is asked for.
        recursive: folders within it, too.

    Raises:
        UserError: the folder is missing or holds no image.
    """
    paths = _images(image_root, recursive)
    records: list[RestorationRecord] = []
    for k, path in enumerate(paths, 1):
        records.append({"file_name": path, "image_id": k})
        if task is not None:
            records[-1]["task"] = task
    logger.info("%s: %d images", image_root, len(records))
    return records


def load_image_pairs(
    clean_root: str,
    degraded_root: str | Sequence[str],
    task: str,
    *,
    scale: int = 1,
    clean_pattern: str = "{name}",
    degraded_pattern: str = "{name}",
    report: Report = refuse,
) -> list[RestorationRecord]:
    """Pairs whose file names, without suffix, follow two patterns with the same ``{name}``.

    Args:
        clean_root: folder of the clean images, all of which are in no folder within it.
        degraded_root: that of the degraded ones; of several the first that exists.
        task: of IPT, that these are for.
        scale: a clean image is this many times as large; up to ``scale`` - 1 pixels more, which are
            cut off on the right and at the bottom, as the official code has it.
        clean_pattern, degraded_pattern: such as "norain-{name}". Files that do not fit are no part
            of the set, so both may be in one folder.
        report: takes images that lack their partner, cannot be read, or are not as large as the
            other requires.

    Raises:
        UserError: an argument that cannot be, a folder is missing, or no image fits.
    """
    roots = [degraded_root] if isinstance(degraded_root, str) else list(degraded_root)
    if not (clean_root and roots and all(roots)):
        raise UserError("image pairs without a folder: name clean_root and degraded_root")
    if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
        raise UserError(f"image pairs of {clean_root} have scale {scale!r}: set 1, 2, 3, …")
    degraded_root = next((root for root in roots if os.path.isdir(root)), roots[0])
    clean = _by_name(clean_root, clean_pattern)
    degraded = _by_name(degraded_root, degraded_pattern)
    for name in sorted({*clean} ^ {*degraded}):
        if name in clean:
            found, root, pattern = clean[name], degraded_root, degraded_pattern
        else:
            found, root, pattern = degraded[name], clean_root, clean_pattern
        missing = os.path.join(root, pattern.replace(_NAME, name))
        text = f"image {found} has no partner: there is no {missing}.png (nor another image suffix)"
        report(Fault(found, "file", None, f"{text}; fetch it or leave both out"))
    records: list[RestorationRecord] = []
    for k, name in enumerate(sorted({*clean} & {*degraded}), 1):
        pair = clean[name], degraded[name]
        try:
            check_pair_sizes(*pair, read_image_size(pair[0]), read_image_size(pair[1]), scale)
        except UserError as error:
            report(Fault(pair[0], "file", None, str(error)))
            continue
        records.append(
            {"file_name": pair[0], "image_id": k, "degraded_file_name": pair[1], "task": task}
        )
    logger.info("%s: %d images", clean_root, len(records))
    return records


def check_pair_sizes(
    clean: str,
    degraded: str,
    clean_size: tuple[int, int],
    degraded_size: tuple[int, int],
    scale: int,
) -> None:
    """Raise a UserError if the clean image is not ``scale`` times as large as the degraded one.

    It is first cut to a multiple of ``scale``. Sizes are (height, width).
    """
    height, width = (side // scale for side in clean_size)
    if tuple(degraded_size) != (height, width):
        turned = exif_advice(degraded, height, width)
        if turned is None:
            turned = exif_advice(clean, *(side * scale for side in degraded_size))
        raise UserError(
            f"images {clean} ({clean_size[0]}x{clean_size[1]}) and {degraded} "
            f"({degraded_size[0]}x{degraded_size[1]}, height x width) are no pair: at scale {scale} "
            f"the second must be {height}x{width}; {turned or 'correct or leave out both'}"
        )


def _images(root: str, recursive: bool) -> list[str]:
    if not os.path.isdir(root):
        raise UserError(
            f"image folder {root} does not exist: correct the path, set DETECTRON2_DATASETS or "
            "fetch the data"
        )

    def fail(error: OSError) -> None:
        raise UserError(f"cannot read folder {error.filename}: {error.strerror}") from error

    paths = []
    for folder, inner, files in os.walk(root, onerror=fail, followlinks=True):
        inner[:] = [name for name in inner if recursive and not name.startswith(".")]
        paths += [
            os.path.join(folder, name)
            for name in files
            if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")
        ]
    if not paths:
        known = " ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"image folder {root} holds no image; expected files ending in {known}")
    return sorted(paths)


def _by_name(root: str, pattern: str) -> dict[str, str]:
    """{name: path} of the images whose file name without suffix is the pattern of that name."""
    known = isinstance(pattern, str) and pattern.count(_NAME) == 1
    if not known or set("{}") & set(pattern.replace(_NAME, "")):
        raise UserError(
            f"pattern {pattern!r} of image names must hold {_NAME} once, and no other brace"
        )
    regex = re.compile("(.*)".join(map(re.escape, pattern.split(_NAME))), re.DOTALL)
    found: dict[str, str] = {}
    for path in _images(root, recursive=False):
        match = regex.fullmatch(Path(path).stem)
        if match is None:
            continue
        name = match[1]
        if name in found:
            raise UserError(f"images {found[name]} and {path} have the same name: leave one out")
        found[name] = path
    if not found:
        raise UserError(
            f"image folder {root} holds no image called like {pattern.replace(_NAME, '*')}"
        )
    return found

"""Labels in any format; importing this module registers the formats."""

import inspect
import os
from collections.abc import Sequence
from typing import Any

from d2video.formats import (
    bdd100k,  # noqa: F401
    burst,  # noqa: F401
    cocovid,  # noqa: F401
    cvat_coco,  # noqa: F401
    cvat_images,  # noqa: F401
    cvat_mot,  # noqa: F401
    cvat_video,  # noqa: F401
    datumaro,  # noqa: F401
    davis,  # noqa: F401
    kitti,  # noqa: F401
    label_studio,  # noqa: F401
    labelme,  # noqa: F401
    mots_png,  # noqa: F401
    sa_v,  # noqa: F401
    standard_formats,  # noqa: F401
    youtube_vos,  # noqa: F401
)
from d2video.formats.faults import Report, refuse
from d2video.formats.labels.exports import Exports, find_exports
from d2video.formats.labels.label_formats import LABEL_FORMATS
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.labels.recognition import unpacked
from d2video.formats.labels.united import united
from d2video.utils.errors import UserError
from d2video.utils.near_names import did_you_mean


def read_labels(
    path: str,
    format: str | None = None,
    report: Report = refuse,
    *,
    videos: Sequence[str] | None = None,
    **options: Any,
) -> LabelSet:
    """Read labels.

    Args:
        path: the file or folder as the tool wrote it, a zip archive of it, or a folder of several such
            folders or archives.
        format: a name of :data:`LABEL_FORMATS`; None: recognised.
        report: takes faults, doubts and what is left out.
        videos: only these, by name; None: all.
        options: of the format's reader.

    Raises:
        UserError: the format or a video is unknown, or the labels cannot be read.
    """
    if format is None or format in LABEL_FORMATS:
        exports = find_exports(path, format)
        format = exports.format
    if format not in LABEL_FORMATS:
        hint = did_you_mean(format, LABEL_FORMATS, f"choose {', '.join(sorted(LABEL_FORMATS))}")
        raise UserError(f"{path}: '{format}' is not a format of labels: {hint}")
    left_out = exports.left_out(path)
    if left_out is not None:
        report(left_out)
    if options.get("image_root") is not None:
        options["image_root"] = _frames_at(options["image_root"], path, exports)
    read = LABEL_FORMATS[format]
    can_choose = len(exports.places) == 1 and "videos" in inspect.signature(read).parameters
    if videos is not None and can_choose:
        options["videos"] = videos
    try:
        sets = {name: read(seen.path, report, **options) for name, seen in exports.places.items()}
    except UserError as error:
        if exports.looks_like is None:
            raise
        raise UserError(f"{error}; {path} looks like {exports.looks_like}, not {format}") from error
    labels = united(path, sets, report)
    if videos is not None:
        labels.choose(videos)
    return labels


def _frames_at(image_root: str, path: str, exports: Exports) -> str:
    root = unpacked(image_root)
    if not os.path.exists(root):
        raise UserError(f"image_root, {root}, does not exist: correct the path of the frames")
    if len(exports.places) > 1 and os.path.isfile(root):
        raise UserError(
            f"{path} holds {len(exports.places)} exports, and image_root, {root}, is one video: give the "
            "folder that holds those of all"
        )
    return root

"""BURST: masks of TAO's tracks, ``burst_annotations/<split>/<split>.json``.

``sequences`` have ``seq_name``, ``dataset``, ``width``, ``height``, ``all_image_paths`` and
``annotated_image_paths``, ``track_category_ids`` ({track: category}) and, for each annotated image,
``segmentations`` ({track: {"rle": a string, "is_gt": true}}). Images are in ``<split>/<dataset>/<seq_name>``.
"""

import os
from typing import Any

from d2video.formats.coco import tell_class_lists
from d2video.formats.faults import EntryError, Report, refuse, reporting
from d2video.formats.image_folders import find_folder_of, image_folders
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_set import LabelledVideo, LabelSet
from d2video.formats.labels.recognition import only_json_file
from d2video.formats.paths import leaves_folder, portable
from d2video.formats.text import (
    NOT_AS_EXPECTED,
    as_json,
    check_size,
    json_entries,
    read_categories,
    read_json,
)
from d2video.utils.errors import UserError
from d2video.utils.whole_numbers import whole_number


def _is_burst(content: Any) -> bool:
    sequences = content.get("sequences") if isinstance(content, dict) else None
    first = sequences[0] if isinstance(sequences, list) and sequences else None
    return isinstance(first, dict) and {"seq_name", "annotated_image_paths"} <= first.keys()


@label_format("burst", lambda seen: _is_burst(seen.content))
def read_burst(root: str, report: Report = refuse, *, image_root: str | None = None) -> LabelSet:
    """Read one file; no image is opened.

    Only annotated images are frames of a video, numbered by their places in ``all_image_paths``, from 0 on.
    Masks that are not ground truth (``is_gt`` false) are left out.

    Args:
        root: the JSON file, or a folder that holds no other one.
        image_root: the folder of ``<dataset>/<seq_name>``, or the one of ``<split>``; None: looked for below
            and beside the file.

    Raises:
        UserError: the file is missing, not JSON or not in the format, or the images are not found.
    """
    path = only_json_file(root)
    content = read_json(path)
    if not _is_burst(content):
        raise UserError(f"{path} has no sequences with annotated_image_paths: give a file of BURST")
    classes = read_categories(content, path, report)
    numbers, names = [*classes], [*classes.values()]
    labels = LabelSet(path, report, classes=names, class_numbers=numbers, mixed_tracks=True)
    places = image_folders(path) if image_root is None else [image_root]
    splits = (str(content.get("split")), "")
    folders = [os.path.join(place, split) for place in places for split in splits]
    entries = [*json_entries(content, "sequences", path, report, name="seq_name")]
    tell_class_lists((fields for _, fields in entries), path, report)
    for entry, fields in entries:
        with entry:
            video = _add_video(labels, fields, path, folders)
            class_of = fields.get("track_category_ids")
            for number, objects in zip(video.numbers, fields["segmentations"], strict=True):
                for track, each in objects.items():
                    where = f"{track} in frame {number} of {video.name}"
                    with reporting(report, path, "track", where):
                        _add_object(video, number, track, each, class_of, classes)
    return labels.finished()


def _add_video(
    labels: LabelSet, fields: dict[str, Any], path: str, folders: list[str]
) -> LabelledVideo:
    size: Any = fields.get("height"), fields.get("width")
    check_size(*size)
    try:
        name = f"{fields['dataset']}/{fields['seq_name']}"
        files = [*map(portable, fields["annotated_image_paths"])]
        order = {portable(each): k for k, each in enumerate(fields["all_image_paths"])}
        numbers = [order[each] for each in files]
        rows = fields["segmentations"]
        is_sound = len(rows) == len(files) and all(isinstance(each, dict) for each in rows)
    except NOT_AS_EXPECTED as error:
        raise EntryError(f"it is not as BURST has it ({error!r}); correct it") from None
    if not is_sound or not numbers or numbers != sorted({*numbers}):
        raise EntryError("its annotated_image_paths and segmentations do not fit; correct it")
    if any(map(leaves_folder, (name, *files))):
        raise EntryError(f"its images lie outside the folder of {name}; correct it")
    root = find_folder_of(files, path, path, [os.path.join(each, name) for each in folders])
    return labels.add_video(
        name.replace("/", "_"), [f"{root}/{each}" for each in files], size, numbers
    )


def _add_object(
    video: LabelledVideo, number: int, track: str, each: Any, class_of: Any, classes: dict[int, str]
) -> None:
    identity = whole_number(track)
    if identity is None:
        raise EntryError("it is not called by a number; correct it")
    if not isinstance(each, dict) or not isinstance(each.get("rle"), str):
        raise EntryError("it has no 'rle', a text; correct it")
    category: Any = class_of.get(track) if isinstance(class_of, dict) else None
    if category not in [*classes]:
        raise EntryError(f"its class, {as_json(category)}, is not a category; correct it")
    if not each.get("is_gt", True):
        video.labels.tally.leave_out("that are not ground truth (is_gt false)")
        return
    mask = {"size": [*video.size], "counts": each["rle"]}
    video.add(number, classes[category], track=identity, segmentation=mask)

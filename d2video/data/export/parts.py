"""Parts of a dataset in the format that it has, with everything that its files say."""

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from detectron2.data import MetadataCatalog

from d2video.data.export.files import doubt_cache, write_content, write_labels
from d2video.data.export.frames import link_file
from d2video.data.records import Record
from d2video.formats.faults import Report
from d2video.formats.mot_rules import rule_arguments
from d2video.formats.mot_sequence import MOTSequence
from d2video.formats.text import read_json
from d2video.utils.errors import UserError
from d2video.utils.files import new_folder

_JSON_FORMATS = {"ytvis": "youtube-vis", "coco": "coco", "mot": "coco", "mots": "coco"}


def standard_format(dataset_name: str) -> str | None:
    """Which format of :func:`write_labels` a registered dataset's own files have; None: another one."""
    metadata = MetadataCatalog.get(dataset_name)
    kind = metadata.get("evaluator_type")
    if metadata.get("mot_sequences") is not None:
        return kind
    return _JSON_FORMATS.get(kind) if metadata.get("json_file") else None


def write_part(
    dataset_name: str,
    records: Sequence[Record],
    class_names: Sequence[str],
    path: str,
    format: str,
    *,
    source: str,
    report: Report,
) -> tuple[str, dict[str, Any]]:
    """Write some of a dataset's records.

    YouTube-VIS, COCO of images and whole sequences of MOTChallenge stay as they are, with all that their
    files say, if this is the format. All else is written by
    :func:`~d2video.data.export.files.write_labels`, to which the arguments go.

    Returns:
        format and arguments for DATASETS.REGISTER.
    """
    metadata = MetadataCatalog.get(dataset_name)
    kind, is_own = metadata.get("evaluator_type"), format == standard_format(dataset_name)
    if is_own and kind in ("ytvis", "coco"):
        key = "video_id" if kind == "ytvis" else "image_id"
        part = part_of(read_json(metadata.json_file), key, {record[key] for record in records})
        root = metadata.image_root
        write_content(part, path, root)
        doubt_cache(records, source, report)
        return kind, {"json_file": path, "image_root": root}
    if is_own and metadata.get("mot_sequences") is not None:
        sequences = {each.name: each for each in metadata.mot_sequences()}
        chosen = [sequences[record["sequence"]] for record in records]
        if all(each.num_frames == len(each.frame_numbers) for each in chosen):
            _link_sequences(chosen, path)
            return "mot", {"root": path, **rule_arguments(metadata.mot_rule)}
    return write_labels(records, class_names, path, format, source=source, report=report)


def part_of(content: dict[str, Any], key: str, ids: Collection[int | str]) -> dict[str, Any]:
    """The part of a valid file for some of its videos (YouTube-VIS) or images (COCO); other keys are kept.

    Args:
        key: of an annotation: "video_id" or "image_id".
        ids: of the videos or images.
    """
    entries = f"{key.removesuffix('_id')}s"
    part = {**content, entries: [each for each in content[entries] if each["id"] in ids]}
    assert len(part[entries]) == len(ids), ids
    if content.get("annotations") is not None:
        part["annotations"] = [each for each in content["annotations"] if each[key] in ids]
    return part


def _link_sequences(sequences: Sequence[MOTSequence], path: str) -> None:
    """Put whole sequences into a new folder, as hard links where the disk allows."""
    with new_folder(path) as partial:
        for each in sequences:
            try:
                shutil.copytree(each.folder, Path(partial, each.name), copy_function=link_file)
            except shutil.Error as errors:  # one of each file
                raise UserError(f"cannot write {path}: {errors.args[0][0][-1]}") from errors

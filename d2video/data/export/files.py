"""A dataset written as a file or a folder in a standard format."""

import json
import os
import re
from collections.abc import Sequence
from typing import Any

from d2video.data.export.coco import coco_content
from d2video.data.export.mot import write_mot
from d2video.data.export.mots import write_mots
from d2video.data.export.objects import check_videos
from d2video.data.export.youtube_vis import youtube_vis_content
from d2video.data.records import Record, frames_of
from d2video.fetching.addresses import cache_folder
from d2video.formats.faults import Doubt, Report, refuse
from d2video.utils.errors import UserError
from d2video.utils.files import open_text
from d2video.video.frame_names import split_frame_name


def write_labels(
    records: Sequence[Record],
    class_names: Sequence[str],
    path: str,
    format: str,
    *,
    images: bool = True,
    image_root: str | None = None,
    source: str = "the dataset",
    track_advice: str | None = None,
    report: Report = refuse,
) -> tuple[str, dict[str, Any]]:
    """Write records, whole or not at all.

    Args:
        class_names: by category id.
        path: the JSON file, which is replaced if it exists, or of mot and mots the folder, which must not
            exist or be empty.
        format: "youtube-vis", "coco", "mot" or "mots".
        images: of mot and mots, with the frames.
        image_root: of JSON, the folder that the frames' names are relative to; None, or one that does not
            hold all frames: that of ``path`` or, if they are not all in it, the one that they share.
        source: what messages call the data.
        track_advice: of images, what would make videos of them.
        report: takes what the format cannot hold.

    Returns:
        format and arguments for DATASETS.REGISTER.

    Raises:
        UserError: the format cannot hold such data, or the path cannot be written.
    """
    if not class_names:
        raise UserError(f"{source} has no classes: there is nothing to write")
    if format != "coco":
        check_videos(records, source, format, track_advice)
    has_tracks = "length" in records[0]
    if format in ("mot", "mots"):
        class_names = _one_line_each(class_names, source, report)
        write, benchmark = (write_mot, "MOT17") if format == "mot" else (write_mots, "MOTS20")
        classes = write(records, class_names, path, images=images, source=source, report=report)
        return "mot", {"root": path, "benchmark": benchmark, "classes": classes}
    make = {"youtube-vis": youtube_vis_content, "coco": coco_content}[format]
    root = _image_root(records, path, image_root)
    content = make(records, class_names, image_root=root, source=source, report=report)
    write_content(content, path, root)
    _doubt_video_files(records, source, report)
    doubt_cache(records, source, report)
    if format == "coco" and has_tracks:
        return "cocovid", {"root": path, "image_root": root}
    return "ytvis" if has_tracks else "coco", {"json_file": path, "image_root": root}


def _one_line_each(class_names: Sequence[str], source: str, report: Report) -> list[str]:
    """The names as lines of ``gt/labels.txt`` hold them."""
    # Half of a UTF-16 pair cannot be encoded.
    lines = [name.encode(errors="replace").decode() for name in class_names]
    written = [re.sub(r"[\r\n]+", " ", name).strip() for name in lines]
    changed = [name for name, new in zip(class_names, written, strict=True) if new != name]
    if changed and (not all(written) or len({*written}) < len(written)):
        raise UserError(
            f"{source}: the class {changed[0]!r} cannot be written as a line of text: rename it"
        )
    if changed:
        text = f"names of classes are changed so that each fits into a line of text: {changed[0]!r}"
        report(Doubt(source, text))
    return written


def _doubt_video_files(records: Sequence[Record], source: str, report: Report) -> None:
    count = sum(split_frame_name(name) is not None for name in frames_of(*records))
    if count:
        text = (
            f"{count} of its frames are those of video files, written as clip.mp4#frame=12, which other "
            "programs do not read: for these extract the frames (d2video extract-frames) and give them as "
            "--image-root"
        )
        report(Doubt(source, text))


def doubt_cache(records: Sequence[Record], source: str, report: Report) -> None:
    """A doubt where a file names images that are in the cache, since they were in a zip archive."""
    cache = f"{cache_folder()}{os.sep}"
    frames = [name for name in map(os.path.abspath, frames_of(*records)) if name.startswith(cache)]
    if frames:
        text = (
            f"{len(frames)} of its frames are in the cache, unpacked from archives, such as {frames[0]}, and "
            "are lost with it: if you want to keep the file, unpack the archives and read their folders"
        )
        report(Doubt(source, text))


def write_content(content: dict[str, Any], path: str, image_root: str) -> None:
    """Write a JSON file, whole or not at all.

    The folder of its images is in the key ``image_root``, relative to the file's, so that the file can be
    named by its path only.

    Raises:
        UserError: it cannot be written.
    """
    root = os.path.relpath(os.path.abspath(image_root), os.path.dirname(os.path.abspath(path)))
    with open_text(path) as put:
        put(json.dumps({**content, "image_root": root.replace(os.sep, "/")}, allow_nan=False))


def _image_root(records: Sequence[Record], path: str, image_root: str | None) -> str:
    frames = [os.path.abspath(name) for name in frames_of(*records)]
    shared = os.path.commonpath([os.path.dirname(name) for name in frames])
    for folder in filter(None, (image_root, os.path.dirname(path) or ".")):
        root = os.path.abspath(folder)
        if os.path.commonpath([shared, root]) == root:
            return folder
    return shared

"""Clips and pictures of what a model answers to the records of a dataset."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from detectron2.data.transforms import NoOpTransform

from d2video.data.frame_sequence import FrameSequence
from d2video.inference import DrawingOptions, Images, Predictor, Source, annotate
from d2video.report.page import Media
from d2video.video.frame_names import split_frame_name
from d2video.video.frame_source import FrameSource
from d2video.video.video_reader import open_video
from d2video.visualization.samples import scale_of


def draw_records(
    predictor: Predictor,
    records: Sequence[Any],
    folder: Path,
    options: DrawingOptions,
    *,
    fps: float | None = None,
    most_frames: int | None = None,
    enlarge: bool = False,
) -> list[Media]:
    """Draw the answers to records: a clip for each video, a picture for each image.

    Args:
        folder: for the files.
        options: how they are drawn.
        fps: frames a second of clips; None: what the record says, else 10.
        most_frames: of a clip, the first ones; None: all.
        enlarge: small videos, so that there is room for labels; in place of ``options.scale``.

    Returns:
        the files, with what they are, in the order of the records.

    Raises:
        UserError: a video or an image cannot be read, or the model does not take it.
    """
    drawn = []
    for record in records:
        source: Source
        if "image_id" in record:
            caption, path = f"image {record['image_id']}", folder / f"{record['image_id']:06d}.png"
            source = Images(caption, [Path(record["file_name"])])
        else:
            caption = f"video {record.get('sequence', record['video_id'])}"
            path = folder / f"{record['video_id']:04d}.mp4"
            source = _video(record, fps, most_frames)
            source.name = caption
            if enlarge:
                options = replace(options, scale=scale_of(*source.size))
        annotate(predictor, source, path, options=options)
        if "label" in record and predictor.class_names is not None:
            caption += f", {predictor.class_names[record['label']]}"
        drawn.append(Media(caption, path))
    return drawn


def _video(record: Any, fps: float | None, most_frames: int | None) -> FrameSource:
    """The first frames of a record's video."""
    if "file_names" not in record:
        video = open_video(record["file_name"], fps=fps)
        if most_frames is None:
            return video
        return open_video((frame.image for frame in islice(video, most_frames)), fps=video.fps)
    names = record["file_names"][:most_frames]
    fps = fps or record.get("frame_rate") or 10.0
    if split_frame_name(names[0]) is None:
        return open_video(names, fps=fps)
    size = (record["height"], record["width"])
    return open_video(iter(FrameSequence(names, *size, NoOpTransform())), fps=fps)

"""Jobs of CVAT as users download them, with the videos that they label."""

import shutil
from pathlib import Path

from tests.helpers.cvat_xml import (
    as_polygon,
    document,
    drawable,
    element,
    task,
    tracks_of,
    write_xml,
)
from tests.helpers.true_labels import TrueVideo, true_videos, write_video


def write_job(root: Path, number: int, zipped: bool = True) -> TrueVideo:
    """Write ``job_<number>`` and its video, ``street_<number>.mp4``: as a zip with the video beside it, or
    as a folder with the video in it. Return what is labelled."""
    video = drawable(true_videos(crowd=False)[number % 2])
    folder = root / f"job_{number}"
    meta = element("task", task(video.num_frames, source=f"street_{number}.mp4"))
    write_xml(folder, document(meta, *tracks_of(video, as_polygon)))
    if zipped:
        shutil.make_archive(str(folder), "zip", folder)
        shutil.rmtree(folder)
    write_video(video, (root if zipped else folder) / f"street_{number}.mp4")
    return video

"""Run a predictor on any source and write what it finds."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from d2video.inference.many_videos import annotate_videos
from d2video.inference.output import annotate_source, check_asked
from d2video.inference.predictor import Predictor
from d2video.inference.sources import Source, Videos
from d2video.video.frame_source import FrameSource
from d2video.video.video_reader import OnBroken
from d2video.visualization.options import DrawingOptions


def annotate(
    predictor: Predictor,
    source: Source,
    output: str | Path | None = None,
    *,
    results: Mapping[str, str | Path] | None = None,
    options: DrawingOptions | None = None,
    on_broken: OnBroken = "raise",
    progress: bool = False,
    show: bool = False,
) -> int:
    """Predict on a video or on images, and write pictures and results; all files or none appear.

    The frames of a video keep their times. A camera or a live stream runs until Ctrl-C, which keeps
    what was written, as does closing the window.

    Of several videos each has files of its own; see :func:`~d2video.inference.many_videos.annotate_videos`,
    which leaves out what has been finished before and, in several processes, shares them out.

    Args:
        output: annotated video (.mp4), image, or new folder (a name without a suffix). For several
            videos a folder, new or not, of a video each.
        results: results files by kind; see ``Task.offers``. For several videos, folders of them.
        options: how to draw, and which and how many classes to write.
        on_broken: of images; see :meth:`Predictor.predict_images`.
        progress: show a progress bar.
        show: show the pictures in a window as they come; q, Esc or closing it ends the run.

    Returns:
        the number of frames or images; of several videos, those of this run and all processes.

    Raises:
        UserError: the task does not offer an output, the source cannot be read, a file cannot be
            written, or a window cannot be opened.
    """
    options, results = options or DrawingOptions(), results or {}
    check_asked(predictor, results, options)
    if isinstance(source, Videos):
        return annotate_videos(
            predictor, source, output, results, options=options, progress=progress, show=show
        )
    total = source.estimated_length if isinstance(source, FrameSource) else len(source.pictures)
    unit = "frame" if isinstance(source, FrameSource) else "image"
    steps = annotate_source(
        *(predictor, source, output, results),
        options=options,
        on_broken=on_broken,
        show=show,
    )
    with tqdm(total=total, unit=unit, disable=not progress) as bar, closing(steps):
        done = 0
        for _ in steps:
            done += 1
            bar.update()
    return done

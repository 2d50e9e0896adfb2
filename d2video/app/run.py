"""Annotate one file of a user: the progress that the page shows, and the files at the end."""

import base64
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from d2video.app.limits import Limits
from d2video.inference import Predictor, open_source
from d2video.inference.output import annotated_frames, default_outputs
from d2video.inference.sources import Videos
from d2video.utils.errors import UserError
from d2video.video.frame_source import FrameSource
from d2video.visualization.options import DrawingOptions

_SHOWN_SIZE = (960, 720)  # maximum size in pixels of the pictures shown meanwhile
_SHOWN_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Attributes:
        done: number of frames or images annotated so far.
        total: total number; None if unknown.
        picture: the latest picture as a data URI; "" before the first one.
    """

    done: int
    total: int | None
    picture: str = ""


@dataclass(frozen=True)
class Result:
    """Result of a run.

    Attributes:
        seconds: time that it took.
        found: summary of the predictions in one line.
        files: the video or picture, followed by the result files.
    """

    seconds: float
    found: str
    files: list[Path]


def annotate_upload(
    predictor: Predictor, upload: Path, folder: Path, options: DrawingOptions, limits: Limits
) -> Generator[Progress | Result, None, None]:
    """Annotate a file; the results are in ``folder`` when the last item, the :class:`Result`, is yielded.

    Closing the iterator stops the work.

    Raises:
        UserError: if the file cannot be read or is above a limit, or if an option does not suit the model.
            The message contains the name of the file without its folder.
    """
    try:
        yield from _annotate(predictor, upload, folder, options, limits)
    except UserError as error:
        message = str(error).replace(f"{upload.parent}/", "").replace(f"{folder}/", "")
        raise UserError(message) from error


def _annotate(
    predictor: Predictor, upload: Path, folder: Path, options: DrawingOptions, limits: Limits
) -> Generator[Progress | Result, None, None]:
    task, start = predictor.task, time.monotonic()
    source = open_source(upload, takes_images=task.takes_images)
    limits.check(source)
    assert not isinstance(source, Videos)
    output, _ = default_outputs(source, upload, task)
    if isinstance(source, FrameSource):
        source.name, total = upload.name, source.estimated_length
        kinds = {"results": ".json", "mot_results": ".txt"}
    else:
        source, total = source._replace(name=upload.name), len(source.pictures)
        kinds = {"results": ".json"}
    annotated = folder / output
    results = {
        kind: annotated.with_suffix(suffix) for kind, suffix in kinds.items() if kind in task.offers
    }
    summary = task.summary(predictor.class_names, options)
    done, shown = 0, start
    yield Progress(done, total)
    frames = annotated_frames(predictor, source, annotated, results=results, options=options)
    with closing(frames):
        for frame in frames:
            limits.check_frame(source, frame.answer)
            summary.add(frame.answer)
            done += 1
            if done == 1 or time.monotonic() - shown > _SHOWN_EVERY:
                yield Progress(done, total, _data_uri(frame.picture))
                shown = time.monotonic()
    said = summary.line(True, False)
    found = "" if said is None else said[1]
    yield Result(time.monotonic() - start, found, [annotated, *results.values()])


def _data_uri(picture: np.ndarray) -> str:
    image = Image.fromarray(picture)
    image.thumbnail(_SHOWN_SIZE)
    file = BytesIO()
    image.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"

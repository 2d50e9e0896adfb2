"""One file of a user, annotated: what the page shows from frame to frame, and the files at the end."""

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

_SHOWN_SIZE = (960, 720)  # pixels, at most, of the pictures on the way
_SHOWN_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Progress:
    """
    Attributes:
        done: frames or images that are annotated.
        total: their number as far as it is known.
        picture: the latest one, as a data URI; "" before the first one.
    """

    done: int
    total: int | None
    picture: str = ""


@dataclass(frozen=True)
class Result:
    """
    Attributes:
        seconds: that it took.
        found: what was found, in a line.
        files: the video or the picture first, and then the results files.
    """

    seconds: float
    found: str
    files: list[Path]


def annotate_upload(
    predictor: Predictor, upload: Path, folder: Path, options: DrawingOptions, limits: Limits
) -> Generator[Progress | Result, None, None]:
    """Annotate a file; the results are in the ``folder`` when the last item, the :class:`Result`, comes.

    Closing the iterator ends the work.

    Raises:
        UserError: the file cannot be read, is above a limit, or an option does not suit the model. The
            message calls the file by its name, without its folder.
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

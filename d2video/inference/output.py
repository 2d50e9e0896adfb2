"""One video, or images, through a predictor and into files: pictures, JSON, tracks."""

import logging
import os
import signal
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from d2video.inference.predictor import IMAGE_SHOWN, Predictor
from d2video.inference.sources import Images, Source, Videos
from d2video.inference.tasks.task import Task
from d2video.utils.addresses import address_of, local_path
from d2video.utils.errors import UserError
from d2video.utils.sources import check_not_input, is_pattern
from d2video.video.frame_source import FrameSource
from d2video.video.frame_writer import FrameWriter
from d2video.video.image_writer import ImageFileWriter, ImageFolderWriter, lossless_names
from d2video.video.pictures import own_name, picture_names
from d2video.video.video_reader import OnBroken
from d2video.video.video_writer import VideoWriter
from d2video.video.window import Window
from d2video.visualization.options import DrawingOptions

logger = logging.getLogger(__name__)

# The reason why a task does not offer an output.
_NOT_OFFERED = {
    "results": "finds nothing in images that could be written",
    "mot_results": "does not track, so there are no tracks to write",
    "mots_results": "does not track, so there are no tracks to write",
    "classes": "finds no objects whose classes could be chosen",
    "side_by_side": "does not restore images",
}


def check_offers(predictor: Predictor, asked: Mapping[str, str]) -> None:
    """Check that the predictor's task offers the requested outputs.

    Args:
        asked: their names in ``Task.offers``, each with the caller's name for it.

    Raises:
        UserError: the task does not offer one of them.
    """
    for kind, name in asked.items():
        if kind not in predictor.task.offers:
            model = type(predictor.model).__name__
            raise UserError(f"{model} {_NOT_OFFERED[kind]}; leave out {name}")


def check_asked(
    predictor: Predictor, results: Mapping[str, str | Path], options: DrawingOptions
) -> None:
    """:func:`check_offers` for the results and the options of :func:`annotated_frames`."""
    chosen = [kind for kind in ("classes", "side_by_side") if getattr(options, kind)]
    check_offers(predictor, {kind: kind for kind in (*results, *chosen)})


def default_outputs(source: Source, given: Any, task: Task[Any]) -> tuple[str, str | None]:
    """Default outputs: files in the current folder, named after the source.

    Args:
        source: opened.
        given: its name, or a list of names.

    Returns:
        the path of the pictures, and that of the JSON file, if the task has one.

    Raises:
        UserError: the source is live: it may never end.
    """
    is_one = isinstance(given, str | os.PathLike) and not is_pattern(given)
    name = "annotated"
    if is_one:
        path = local_path(given).resolve() if address_of(given) is None else Path(own_name(given))
        # A name without a dot is that of a folder.
        name = f"{path.name.replace('.', '_') if os.path.isdir(path) else path.stem or 'video'}_annotated"
    results = f"{name}.json" if "results" in task.offers else None
    if isinstance(source, Videos):
        return name, name if results else None
    if isinstance(source, FrameSource):
        if source.is_live:
            raise UserError(f"{source.name} has no end: give --output, --results or --show")
        return f"{name}.mp4", results
    if is_one and not os.path.isdir(path):
        return f"{name}.{'png' if task.is_lossless else 'jpg'}", results
    return name, results


def annotate_source(
    predictor: Predictor,
    source: FrameSource | Images,
    output: str | Path | None,
    results: Mapping[str, str | Path],
    *,
    options: DrawingOptions,
    on_broken: OnBroken,
    show: bool,
) -> Generator[None, None, None]:
    """:func:`~d2video.inference.annotate` for one video, or for images: comes back after each of them.

    The files have their names when the iterator has ended; closing it earlier leaves none behind.
    """
    is_live = isinstance(source, FrameSource) and source.is_live
    is_closed = False
    with ExitStack() as stack:
        # A file is whole or not at all, but a camera has no other end.
        interrupted = stack.enter_context(
            stop_on_interrupt() if is_live else nullcontext(lambda: False)
        )
        window = stack.enter_context(Window(source.name)) if show else None
        frames = annotated_frames(
            *(predictor, source, output),
            results=results,
            options=options,
            on_broken=on_broken,
            draws=show,
            is_over=lambda: is_closed or interrupted(),
        )
        stack.enter_context(closing(frames))
        for _, picture in frames:
            if window is not None:
                wait = IMAGE_SHOWN if isinstance(source, Images) else 1
                is_closed = not window.show(picture, wait)
            del picture
            yield


class AnnotatedFrame(NamedTuple):
    """An answered frame, and its picture, uint8 (H',W',3), RGB, where one was drawn."""

    answer: Any
    picture: Any


def annotated_frames(
    predictor: Predictor,
    source: FrameSource | Images,
    output: str | Path | None = None,
    *,
    results: Mapping[str, str | Path] | None = None,
    options: DrawingOptions | None = None,
    on_broken: OnBroken = "raise",
    draws: bool = False,
    is_over: Callable[[], bool] = lambda: False,
) -> Generator[AnnotatedFrame, None, None]:
    """The frames of :func:`annotate_source`, each as soon as it is written.

    The files have their names when the iterator has ended; closing it earlier leaves none behind.

    Args:
        output, results, options, on_broken: see :func:`~d2video.inference.annotate`.
        draws: draw the pictures even without ``output``.
        is_over: asked after each frame; True ends the work and keeps what was written.

    Raises:
        UserError: as :func:`~d2video.inference.annotate`.
    """
    task, names = predictor.task, predictor.class_names
    options, results = options or DrawingOptions(), results or {}
    read = [source.name, *(source.pictures if isinstance(source, Images) else ())]
    check_not_input([*([output] if output else []), *results.values()], read)
    check_asked(predictor, results, options)
    head: dict[str, Any]
    frames = predictor(source, on_broken=on_broken)
    if isinstance(source, FrameSource):
        height, width = source.size
        head = {"video": source.name, "height": height, "width": width, "fps": source.fps}
    else:
        head = {"images": source.name}
    head["categories"] = names
    done, summary = 0, task.summary(names, options)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(task.open_results(kind, path, head, options.topk))
            for kind, path in results.items()
        ]
        writer = None
        if output is not None:
            writer = stack.enter_context(_open_output(Path(output), source, task.is_lossless))
        draw = task.drawer(names, options) if output is not None or draws else None
        stack.enter_context(closing(frames))
        try:
            for frame in frames:
                if options.classes:
                    frame = frame.of_classes(options.classes)
                for write in writers:
                    write(frame)
                picture: Any = None if draw is None else draw(frame)
                if writer is not None:
                    writer.write(picture, frame.time, frame.duration)
                summary.add(frame)
                done += 1
                yield AnnotatedFrame(frame, picture)
                if is_over():
                    break
        except UserError:
            # Of a stream that has fallen silent, the time limit ends the wait after Ctrl-C.
            if not (done and is_over()):
                raise
    said = summary.line(output is not None, bool(results))
    if said is not None:
        level, text = said
        with tqdm.external_write_mode():  # a progress bar makes way for the line
            logger.log(level, "%s: %s", source.name, text)


def _open_output(path: Path, source: FrameSource | Images, is_lossless: bool) -> FrameWriter:
    """Open a folder of images for a name without a suffix, else an image or a video."""
    is_folder = os.path.isdir(path) or not path.suffix
    if isinstance(source, FrameSource):
        numbered = (f"{index:06d}.png" for index in count()) if is_lossless else None
        return ImageFolderWriter(path, numbered) if is_folder else VideoWriter(path, source.fps)
    if is_folder:
        names = picture_names(source.pictures)
        return ImageFolderWriter(path, lossless_names(names) if is_lossless else names)
    if len(source.pictures) > 1:
        raise UserError(
            f"cannot write {len(source.pictures)} images to {path}; give a new folder, a name without "
            "a dot"
        )
    return ImageFileWriter(path)


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether Ctrl-C was pressed; a second Ctrl-C acts as usual.

    For the main thread, which gets the signals.
    """
    is_asked = False

    def ask(*_) -> None:
        nonlocal is_asked
        is_asked = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: is_asked
    finally:
        signal.signal(signal.SIGINT, before)

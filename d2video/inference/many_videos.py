"""Several videos: shared out between processes, each into files of its own, finished ones left out."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detectron2.utils import comm
from tqdm import tqdm

from d2video.inference.ledger import Ledger, unfinished
from d2video.inference.output import annotate_source
from d2video.inference.predictor import Predictor
from d2video.inference.side_by_side import VIDEO_FAILURES, in_turns
from d2video.inference.sources import Videos
from d2video.utils.counted import counted
from d2video.utils.distributed import SharedWork, decided_by_main
from d2video.utils.errors import UserError
from d2video.utils.sources import check_not_input, source_name
from d2video.visualization.options import DrawingOptions

logger = logging.getLogger(__name__)

_SUFFIXES = {"output": ".mp4", "results": ".json"}  # of other results .txt
_TOLD_EVERY = 0.5  # seconds between two looks at the other processes
_PATIENCE = 30 * 60.0  # seconds for which another process may answer no frame
_MOST_LISTED = 20


def annotate_videos(
    predictor: Predictor,
    videos: Videos,
    output: str | Path | None,
    results: Mapping[str, str | Path],
    *,
    options: DrawingOptions,
    progress: bool,
    show: bool,
) -> int:
    """:func:`~d2video.inference.annotate` for several videos, whose task offers the outputs.

    What has been finished in the folders, by an earlier call with the same settings, is left out; see
    :mod:`d2video.inference.ledger`. In a process group every process calls this; each takes the next
    video when it is free, and has several open where the model takes them side by side. A video that
    fails is logged, and the others go on.

    Returns:
        the number of frames of this call, in all processes.

    Raises:
        UserError: some videos have failed, once the others are done; or a folder cannot be written, has
            results of other settings, or holds the videos themselves.
    """
    folders = {
        kind: Path(path) for kind, path in {"output": output, **results}.items() if path is not None
    }
    ledgers = _ledgers(folders)
    todo = decided_by_main(lambda: _plan(predictor, videos, folders, ledgers, options))
    work = SharedWork(len(todo))
    status = _Status(work, len(todo), len(videos.sources), progress)
    together = predictor if show else predictor.side_by_side()  # one window at a time

    def annotate(source: Any, name: str) -> Iterator[None]:
        files = {
            kind: folder / f"{name}{_SUFFIXES.get(kind, '.txt')}"
            for kind, folder in folders.items()
        }
        try:
            video = videos.open(source)
            steps = annotate_source(
                *(together, video, files.pop("output", None), files),
                options=options,
                on_broken=videos.on_broken,
                show=show,
            )
            with closing(steps):
                for _ in steps:
                    status.frame()
                    if not video.is_live:  # a camera does not wait for the others
                        yield
        except VIDEO_FAILURES as error:
            status.failed(source, error)
        else:
            for ledger in ledgers:
                ledger.add(name, source)
            status.done()

    with status.shown():
        in_turns((annotate(*todo[number]) for number in work), together.videos_at_once)
        status.wait()
    return status.end()


def _ledgers(folders: Mapping[str, Path]) -> list[Ledger]:
    suffixes: dict[str, set[str]] = {}
    for kind, folder in folders.items():
        suffixes.setdefault(os.path.realpath(folder), set()).add(_SUFFIXES.get(kind, ".txt"))
    return [Ledger(Path(folder), frozenset(each)) for folder, each in suffixes.items()]


def _plan(
    predictor: Predictor,
    videos: Videos,
    folders: Mapping[str, Path],
    ledgers: list[Ledger],
    options: DrawingOptions,
) -> list[tuple[Any, str]]:
    """The videos to predict on, each with the name of its files; the folders are ready for them."""
    for path in folders.values():
        if path.suffix and not path.is_dir():
            count = len(videos.sources)
            raise UserError(
                f"cannot write {counted(count, 'video')} to {path}; give a folder, a name without a dot"
            )
    check_not_input((folder / _SUFFIXES.get(kind, ".txt") for kind, folder in folders.items()), ())
    if "output" in folders:
        _check_not_their_folder(folders["output"], videos.sources)
    settings = predictor.settings() | {
        "fps": videos.fps,
        "stop-at-damage": videos.on_broken == "stop",
    }
    drawing = {f"drawing option {name}": value for name, value in asdict(options).items()}
    for name in ("classes", "topk"):  # results have no more than these
        key = f"drawing option {name}"
        settings[key] = drawing[key]
    for ledger in ledgers:
        has_pictures = ".mp4" in ledger.suffixes
        ledger.read(settings | drawing if has_pictures else settings)
    return list(unfinished(videos.sources, ledgers))


def _check_not_their_folder(output: Path, sources: list[Any]) -> None:
    place = os.path.realpath(output)
    parents = {os.path.dirname(str(source)): source for source in sources}
    for parent, source in parents.items():
        if os.path.realpath(parent) == place:
            raise UserError(
                f"cannot write videos into {output}: {source_name(source)} there is an input; "
                "give another folder"
            )


class _Status:
    """What all processes have done, for the progress bar and the summary of process 0."""

    def __init__(self, work: SharedWork, todo: int, listed: int, progress: bool) -> None:
        self._work = work
        self._todo, self._listed = todo, listed
        self._is_main = comm.is_main_process()
        self._bar = tqdm(total=todo, unit="video", disable=not (progress and self._is_main))
        self._start = self._told = time.monotonic()
        self._frames = 0  # not yet added to those of all processes
        self._failures: list[str] = []
        self._counts = (0, 0, 0)  # once all processes are done

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The progress bar; process 0 logs what the others have to say."""
        messages = logging.getLogger("d2video")
        handler = _ToMain(self._work)
        if not self._is_main:
            messages.addHandler(handler)
        try:
            with self._bar:
                yield
        except (KeyboardInterrupt, SystemExit):
            if self._is_main:
                done, left = self._look()[0], self._todo
                logger.warning(
                    "stopped: %d of %d videos are finished; run the same command to continue",
                    done,
                    left,
                )
            raise
        finally:
            messages.removeHandler(handler)

    def frame(self) -> None:
        self._frames += 1
        if time.monotonic() - self._told > _TOLD_EVERY:
            self._look()

    def done(self) -> None:
        self._work.add("done", 1)
        self._look()

    def failed(self, source: Any, error: Exception) -> None:
        name = source_name(source)
        self._work.add("failed", 1)
        self._work.send("failures", name)
        reason = str(error).split("\n", 1)[0]
        with tqdm.external_write_mode():
            logger.error("%s failed: %s", name, reason)
        self._look()

    def wait(self) -> None:
        """Wait for the other processes' last videos."""
        self._work.wait(self._look, _PATIENCE)
        self._counts = self._look()
        # Process 0, which may hold the store, goes when nobody asks it any more.
        self._work.wait(lambda: None, _PATIENCE)

    def end(self) -> int:
        """Log the summary.

        Returns:
            the frames of all.

        Raises:
            UserError: videos have failed; in process 0.
        """
        done, failed, frames = self._counts
        seconds = time.monotonic() - self._start
        if not self._is_main:
            return frames
        skipped = self._listed - self._todo
        logger.info(
            "%s: %d done, %d finished before, %d failed; %s in %.1f s, %.1f frames/s, by %s",
            *(
                counted(self._listed, "video"),
                done,
                skipped,
                failed,
                counted(frames, "frame"),
                seconds,
            ),
            *(frames / seconds, counted(comm.get_world_size(), "process")),
        )
        if failed:
            more = f" and {failed - _MOST_LISTED} more" if failed > _MOST_LISTED else ""
            raise UserError(
                f"{failed} of {counted(self._listed, 'video')} failed: "
                f"{', '.join(self._failures[:_MOST_LISTED])}{more}; see the reasons above; run the "
                "same command to try them again"
            )
        return frames

    def _look(self) -> tuple[int, int, int]:
        """Exchange news with the other processes.

        Returns:
            videos done and failed, and frames, of all.
        """
        frames = self._work.add("frames", self._frames)
        self._frames, self._told = 0, time.monotonic()
        done, failed = self._work.total("done"), self._work.total("failed")
        if self._is_main:
            self._failures += self._work.received("failures")
            for message in self._work.received("log"):
                name, level, text = json.loads(message)
                with tqdm.external_write_mode():
                    logging.getLogger(name).log(level, "%s", text)
            rate = frames / (self._told - self._start + 1e-9)
            self._bar.set_postfix_str(f"{frames} frames, {rate:.1f} frames/s", refresh=False)
            self._bar.update(done + failed - self._bar.n)
        return done, failed, frames


class _ToMain(logging.Handler):
    """Sends messages to process 0, so that one process writes lines, each whole."""

    def __init__(self, work: SharedWork) -> None:
        super().__init__(logging.INFO)
        self._work = work

    def emit(self, record: logging.LogRecord) -> None:
        self._work.send("log", json.dumps([record.name, record.levelno, record.getMessage()]))

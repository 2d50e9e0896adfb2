"""What ``d2video inspect`` looks at, and where its pictures go."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from torch import Tensor

from d2video.inference import Images, Predictor, Source, Videos
from d2video.inference.tasks.task import StreamingModel
from d2video.report import Media, Section
from d2video.utils.errors import UserError
from d2video.video.frame_source import Frame
from d2video.video.image_writer import ImageFileWriter
from d2video.video.pictures import read_picture

# Pixels of the longer side of a frame on the page.
_LEAST_SIDE, _LARGEST_SIDE = 320, 640


@dataclass
class Look:
    """One inspection: the input, what was asked for, and the folder of its pictures.

    Attributes:
        predictor: of the model.
        source: the input.
        folder: for the PNG files.
        first: the frame of the input to begin with.
        num_frames: how many to look at; None: as many as suit the model.
        points: (x, y) in pixels of the frames, for attention from image points; empty: the model chooses.
        queries: object queries or slots to look at; empty: those that found something.
        tracks: identities to follow; empty: the longest.
        layer: of the attention, counted from the last one by negative numbers.
        score: least score of the objects that are looked at.
        cfg: the model's config with DATASETS.TEST, if a dataset was named.
        pictures: those of the page so far, by name.
    """

    predictor: Predictor
    source: Source
    folder: Path
    first: int = 0
    num_frames: int | None = None
    points: Sequence[tuple[float, float]] = ()
    queries: Sequence[int] = ()
    tracks: Sequence[int] = ()
    layer: int = -1
    score: float = 0.5
    cfg: CfgNode | None = None
    pictures: dict[str, np.ndarray] = field(default_factory=dict)

    def takes(self, *options: str) -> None:
        """Say which of "points", "queries", "tracks", "layer", "frames" and "data" the page depends on.

        Raises:
            UserError: another one was given.
        """
        given = {
            "points": self.points,
            "queries": self.queries,
            "tracks": self.tracks,
            "layer": self.layer != -1,
            "frames": self.num_frames,
            "data": self.cfg,
        }
        for name, value in given.items():
            if value and name not in options:
                model = type(self.predictor.model).__name__
                raise UserError(
                    f"--{name} changes nothing on the page of {model}: leave it out "
                    f"({model} takes {', '.join(f'--{each}' for each in options)})"
                )

    def frames(self, count: int, *, least: int = 1) -> list[np.ndarray]:
        """The next ``count`` frames from ``first`` on, uint8 (H, W, 3), RGB; ``num_frames`` wins.

        Args:
            least: how many the model needs.

        Raises:
            UserError: the input has fewer than ``least`` from there on, or a point lies outside of them.
        """
        wanted = self.num_frames or count
        frames = [*islice(_frames(self.source), self.first, self.first + wanted)]
        if len(frames) < least:
            raise UserError(
                f"{self.source.name} has {len(frames)} frames from number {self.first} on, and the model "
                f"looks at {least}: name a longer video or set --start lower"
            )
        height, width = frames[0].shape[:2]
        for x, y in self.points:
            if not (0 <= x < width and 0 <= y < height):
                raise UserError(
                    f"point {x:g},{y:g} is outside the frame: choose x below {width} and y below {height}"
                )
        return frames

    def inputs(self, frames: Sequence[np.ndarray]) -> list[Tensor]:
        """Frames as the model takes them, (3, h, w) in 0..255."""
        return [self.predictor.prepare(frame) for frame in frames]

    def chosen(self, what: str, given: Sequence[int], count: int) -> list[int]:
        """The numbers that were asked for, each once.

        Raises:
            UserError: one is not below ``count``.
        """
        for number in given:
            if not 0 <= number < count:
                raise UserError(f"{what} {number} does not exist: the model has 0 to {count - 1}")
        return [*dict.fromkeys(given)]

    def layer_of(self, what: str, count: int) -> int:
        """The number of the chosen layer of an encoder or decoder with ``count`` layers.

        Raises:
            UserError: it has none of this number, or no layers.
        """
        if not count:
            raise UserError(
                f"the {what} of this model has no layers to look at: leave --points out"
            )
        if not -count <= self.layer < count:
            raise UserError(f"layer {self.layer} does not exist: the {what} has 0 to {count - 1}")
        return self.layer % count

    def media(self, name: str, picture: np.ndarray, caption: str, *, wide: bool = False) -> Media:
        """A picture of the page, uint8 (H, W, 3), RGB, with a name that no other has."""
        assert name not in self.pictures, name
        self.pictures[name] = picture
        return Media(caption, self.folder / f"{name}.png", wide)

    def write_pictures(self) -> None:
        """Write the PNG files.

        Raises:
            UserError: the folder cannot be written.
        """
        for name, picture in self.pictures.items():
            with ImageFileWriter(self.folder / f"{name}.png") as writer:
                writer.write(picture)


@functools.singledispatch
def sections(model: StreamingModel, look: Look) -> Iterator[Section]:
    """What a model shows of its inside, in evaluation mode and without gradients.

    A project registers a function for its meta-architecture (``@sections.register``); subclasses have
    it, too.

    Raises:
        UserError: the project has none, or see :class:`Look`.
    """
    raise UserError(
        f"{type(model).__name__} has no inspection: register one in its project (docs/extend/architecture.md)"
    )


def inspect(look: Look) -> list[Section]:
    """The sections of the page of ``look``'s model, whose pictures are written; see :func:`sections`."""
    with torch.no_grad():
        found = [*sections(look.predictor.model, look)]
    look.write_pictures()
    return found


def shown(frame: np.ndarray, largest: int = _LARGEST_SIDE) -> np.ndarray:
    """A frame at the size in which the page shows it: the longer side has about ``largest`` pixels, of
    small frames at least 320 or ``largest``."""
    side, least = max(frame.shape[:2]), min(_LEAST_SIDE, largest)
    if side < least:
        scale: float = -(-least // side)
    else:
        scale = min(1.0, largest / side)
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(frame), None, fx=scale, fy=scale, interpolation=kind)


def _frames(source: Source) -> Iterator[np.ndarray]:
    if isinstance(source, Videos):
        raise UserError(f"{source.name} holds several videos: name one of them")
    if isinstance(source, Images):
        for index, picture in enumerate(source.pictures):
            yield read_picture(picture, index=index)
        return
    frame: Frame
    for frame in source.frames():
        yield frame.image

"""Predict with an exported model."""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from d2video.deploy.answers import Answer
from d2video.deploy.graphs import open_graphs
from d2video.deploy.manifest import read_manifest
from d2video.deploy.sources import Frame, Source, frames_of, read_image
from d2video.deploy.task import build_task


class Runner:
    """Run an exported model; its answers are those of :class:`d2video.Predictor`.

    ::

        runner = Runner("exported/")
        for answer in runner("street.mp4"):
            answer.found.boxes; answer.to_dict()
        runner.predict("photo.jpg").to_dict()

    Args:
        folder: written by ``d2video export``.
        device: "cpu" or "cuda".
        threads: number of CPU threads; 0: the runtime chooses.

    Raises:
        UserError: the folder is not an export, a file is missing or damaged, or the device is not
            available.
    """

    def __init__(self, folder: str | os.PathLike[str], *, device: str = "cpu", threads: int = 0):
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        graphs = open_graphs(self.folder, self.manifest, device, threads)
        self.task = build_task(graphs, self.manifest)

    def predict(self, image: str | os.PathLike[str] | np.ndarray) -> Answer:
        """Predict on one image: the path of a file, or uint8 (H, W, 3), RGB.

        Raises:
            UserError: the image cannot be read, or has another form.
        """
        pixels = read_image(image)
        name = "" if isinstance(image, np.ndarray) else Path(image).name
        found = self.task.answer_image(pixels)
        return Answer(Frame(0, 0.0, pixels, name), found, self.manifest.class_names)

    def __call__(self, source: Source, *, stop_at_damage: bool = False) -> Iterator[Answer]:
        """Predict on a video, frame by frame.

        Args:
            source: path of a video file or of a folder with the frames, or the frames, each uint8
                (H, W, 3), RGB.
            stop_at_damage: end a video quietly where it is cut off or damaged.

        Raises:
            UserError: the source cannot be read, is empty or is cut off, when that is noticed.
        """
        waiting: deque[Frame] = deque()

        def images() -> Iterator[np.ndarray]:
            for frame in frames:
                waiting.append(frame)
                yield frame.image

        with closing(frames_of(source, stop_at_damage)) as frames:
            for found in self.task.stream(images()):
                yield Answer(waiting.popleft(), found, self.manifest.class_names)

"""An exported TrackFormer on a video: the tracker around its graphs, without torch.

Shapes: n: track queries, Q: object queries, N = n + Q, H×W: the network's input.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from d2video.projects.trackformer.tracker.frame_output import FrameOutput, Owners
from d2video.projects.trackformer.tracker.official import OfficialTracker
from d2video.projects.trackformer.tracker.tracker import Tracker

from d2video.deploy.detections import Objects
from d2video.deploy.graphs import Graph
from d2video.deploy.manifest import Manifest
from d2video.deploy.masks import mask_logits
from d2video.deploy.task import DeployedTask

Arrays = dict[str, np.ndarray]


class Tracking(DeployedTask):
    """Follow objects by the graphs ``features``, ``detect`` and, with masks, ``masks`` (see export.py).

    Args:
        official: the tracker is the :class:`OfficialTracker`.
        tracker: arguments of :class:`Tracker`.
        num_previous: frames before the current one that ``detect`` looks at.
    """

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        manifest: Manifest,
        *,
        official: bool,
        tracker: dict[str, Any],
        num_previous: int,
    ):
        super().__init__(graphs, manifest)
        self._tracker_class = OfficialTracker if official else Tracker
        self._tracker = tracker
        self.num_previous = num_previous
        shapes = {each.name: each.shape for each in graphs["detect"].entry.inputs}
        self._width = int(shapes["embeddings"][1])

    def stream(self, images: Iterable[np.ndarray]) -> Iterator[Objects]:
        tracker = self._tracker_class(**self._tracker)
        history: deque[Arrays] = deque(maxlen=self.num_previous)
        for image in images:
            frame = self.prepared(image)
            features = self.graphs["features"](frame=frame[None])
            levels = {name: each for name, each in features.items() if name.startswith("level_")}
            # Where there are too few frames before, the last one stands in, or the current frame.
            earlier = [*history, *[(history or [levels])[-1]] * self.num_previous]
            size = (frame.shape[1], frame.shape[2])
            detect = partial(self._detect, features, earlier[: self.num_previous], size)
            found = tracker.step(detect, (image.shape[0], image.shape[1]))
            history.appendleft(levels)
            yield Objects(found.boxes, found.scores, found.classes, found.masks, found.ids)

    def _detect(
        self,
        features: Arrays,
        previous: Sequence[Arrays],
        size: tuple[int, int],
        embeddings: np.ndarray,
        boxes: np.ndarray,
    ) -> FrameOutput:
        """What the network sees in a frame; see :meth:`Tracker.step`.

        Args:
            features: the frame's.
            previous: levels of the frames before, the nearest first.
            size: (H, W).
        """
        inputs = features | {"embeddings": embeddings.reshape(-1, self._width), "boxes": boxes}
        for step, levels in enumerate(previous):
            inputs |= {f"previous_{step}_{name}": level for name, level in levels.items()}
        encoded = self.graphs["detect"](**inputs)
        probabilities = encoded.pop("probabilities")

        def owners(rows: np.ndarray) -> Owners:
            logits = mask_logits(self.graphs["masks"], encoded, rows, size)
            # Of logits below -80 the power would not fit into float32.
            return logits.argmax(0), 1 / (1 + np.exp(-logits.max(0).clip(-80)))

        return FrameOutput(
            probabilities.max(-1),
            probabilities.argmax(-1),
            encoded.pop("found_boxes"),
            encoded.pop("found_embeddings"),
            owners if "masks" in self.graphs else None,
        )

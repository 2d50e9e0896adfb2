"""An exported VTN: the graphs ``features`` and ``temporal`` on a stream of frames, without torch.

Shapes: F: frames, K: classes, C: width of the features, h×w: a frame.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from d2video.projects.vtn.video_stream import VideoStream

from d2video.deploy.answers import Found
from d2video.deploy.graphs import Graph
from d2video.deploy.manifest import Manifest
from d2video.deploy.task import DeployedTask

# Frames that go through the backbone at once.
_AT_ONCE = 8


class ClassScores(Found):
    """The class probabilities of a video up to a frame: ``scores``, float32 (K,)."""

    def __init__(self, scores: np.ndarray):
        self.scores = scores

    def record(self, topk: int) -> dict[str, Any]:
        return {"instances": [], **self.video_record(topk)}

    def video_record(self, topk: int) -> dict[str, Any]:
        best = np.argsort(-self.scores, kind="stable")[:topk]
        classes = zip(best.tolist(), self.scores[best].tolist())
        return {"classes": [{"category_id": index, "score": score} for index, score in classes]}


class Classification(DeployedTask):
    """Classify a video frame by frame.

    ``features``: frames uint8 (n, 3, h, w), RGB, to ``features`` (n, C). ``temporal``: features (1, F, C)
    and frame_index (1, F) int64 to ``logits`` (1, K).

    Args:
        stream: arguments of :class:`~d2video.projects.vtn.video_stream.VideoStream`.
    """

    def __init__(self, graphs: Mapping[str, Graph], manifest: Manifest, *, stream: dict[str, int]):
        super().__init__(graphs, manifest)
        self.options = stream

    def stream(self, images: Iterable[np.ndarray]) -> Iterator[Found]:
        stream = VideoStream(self._encode, self._scores, **self.options)
        return map(ClassScores, stream.follow(map(self.prepared, images)))

    def _encode(self, frames: Sequence[np.ndarray], numbers: Sequence[int]) -> Iterator[np.ndarray]:
        for start in range(0, len(frames), _AT_ONCE):
            some = np.stack(frames[start : start + _AT_ONCE])
            yield from self.graphs["features"](frames=some)["features"]

    def _scores(self, features: Sequence[np.ndarray], numbers: Sequence[int]) -> np.ndarray:
        index = np.array([numbers], np.int64)
        found = self.graphs["temporal"](features=np.stack(features)[None], frame_index=index)
        (logits,) = found["logits"]
        odds = np.exp(logits - logits.max())
        return odds / odds.sum()

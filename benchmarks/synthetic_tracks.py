"""Labels and predictions of instance masks in videos, seeded and of any size."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask

from d2video.evaluation.vis.ground_truth import RLE
from d2video.structures.answers import VideoInstances

# Shares of the synthetic set, chosen so that it has the 270,000 masks of some 320 bytes and 11,200
# pairs of tracks of one class that the reference was measured with.
TRACKS = 2.7  # labelled, a video
VISIBLE = 0.9  # of a track's frames
SAME_CLASS = 0.97  # of the predictions have the class of the object that they follow
ALIKE = 0.1  # of a video's objects have the class of its first


@dataclass(frozen=True)
class SetShape:
    """How large the synthetic set is; by default as the one of the reference measurements."""

    videos: int = 100
    frames: int = 30  # a video
    height: int = 360
    width: int = 640
    predictions: int = 100  # a video
    classes: int = 40


def make_set(shape: SetShape, seed: int) -> tuple[dict[str, Any], list[VideoInstances]]:
    """Objects drifting over the frame, and predictions that follow them more or less well.

    Returns:
        labels as in a YouTube-VIS file, and a model's answers with masks as RLE, in the order of the
        videos.
    """
    rng = np.random.default_rng(seed)
    videos: list[dict] = []
    annotations: list[dict] = []
    answers: list[VideoInstances] = []
    per_video = np.diff(np.linspace(0, TRACKS * shape.videos, shape.videos + 1).astype(int))
    for video_id, count in enumerate(per_video.tolist(), start=1):
        size = {"height": shape.height, "width": shape.width}
        videos.append({"id": video_id, "length": shape.frames, **size})
        labels = rng.integers(0, shape.classes, count)
        labels[rng.random(count) < ALIKE] = labels[0]
        objects = _Blob.random(rng, count, shape)
        for label, masks in zip(labels.tolist(), objects.draw(rng, shape)):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "video_id": video_id,
                    "category_id": label + 1,
                    "segmentations": masks,
                }
            )

        followed = rng.integers(0, count, shape.predictions)
        strays = rng.random(shape.predictions) >= SAME_CLASS
        random_labels = rng.integers(0, shape.classes, shape.predictions)
        error = rng.exponential(0.15, shape.predictions)
        answers.append(
            {
                "image_size": (shape.height, shape.width),
                "pred_scores": np.exp(-error).tolist(),
                "pred_labels": np.where(strays, random_labels, labels[followed]).tolist(),
                "pred_ids": list(range(shape.predictions)),
                "pred_masks": objects.follow(rng, followed, error).draw(rng, shape),
            }
        )
    names = [{"id": c, "name": f"class {c}"} for c in range(1, shape.classes + 1)]
    return {"videos": videos, "categories": names, "annotations": annotations}, answers


@dataclass(frozen=True)
class _Blob:
    """N wavy outlines that drift. Lengths are in pixels.

    Attributes:
        centre: (N, 2) x and y in the first frame.
        radius: (N,).
        phase: (N,) radians, of the waves.
        drift: (N, 2) pixels a frame.
    """

    centre: np.ndarray
    radius: np.ndarray
    phase: np.ndarray
    drift: np.ndarray

    @classmethod
    def random(cls, rng: np.random.Generator, count: int, shape: SetShape) -> "_Blob":
        side = min(shape.height, shape.width)
        return cls(
            centre=rng.uniform(0.3, 0.7, (count, 2)) * [shape.width, shape.height],
            radius=rng.uniform(0.04, 0.2, count) * side,
            phase=rng.uniform(0, 2 * np.pi, count),
            drift=rng.normal(0, 0.003 * side, (count, 2)),
        )

    def follow(self, rng: np.random.Generator, chosen: np.ndarray, error: np.ndarray) -> "_Blob":
        """Copies of the chosen blobs, wrong by the given shares of their radius."""
        radius = self.radius[chosen]
        return _Blob(
            centre=self.centre[chosen]
            + rng.normal(0, 1, (len(chosen), 2)) * (error * radius)[:, None],
            radius=radius * np.exp(rng.normal(0, 0.5, len(chosen)) * error),
            phase=self.phase[chosen] + rng.normal(0, 1, len(chosen)) * error,
            drift=self.drift[chosen],
        )

    def draw(self, rng: np.random.Generator, shape: SetShape) -> list[list[RLE | None]]:
        """N tracks, absent in some frames."""
        angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
        waves = 1 + 0.25 * np.sin(5 * angle + self.phase[:, None])
        waves += 0.1 * np.sin(11 * angle + 2 * self.phase[:, None])
        reach = (waves * self.radius[:, None])[..., None]
        outline = reach * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        limits = [shape.width - 1, shape.height - 1]
        tracks: list[list[RLE | None]] = []
        for points, centre, drift in zip(outline, self.centre, self.drift):
            visible = rng.random(shape.frames) < VISIBLE
            tracks.append(
                [
                    coco_mask.frPyObjects(
                        [np.clip(points + centre + t * drift, 0, limits).ravel().tolist()],
                        shape.height,
                        shape.width,
                    )[0]
                    if visible[t]
                    else None
                    for t in range(shape.frames)
                ]
            )
        return tracks

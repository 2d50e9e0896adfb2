"""Labels and predictions of instance masks in videos, seeded and of any size, for benchmarks."""

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
    side = min(shape.height, shape.width)
    size = {"height": shape.height, "width": shape.width}
    videos: list[dict] = []
    annotations: list[dict] = []
    answers: list[VideoInstances] = []
    per_video = np.diff(np.linspace(0, TRACKS * shape.videos, shape.videos + 1).astype(int))
    for video_id, count in enumerate(per_video.tolist(), start=1):
        videos.append({"id": video_id, "length": shape.frames, **size})
        labels = rng.integers(0, shape.classes, count)
        labels[rng.random(count) < ALIKE] = labels[0]
        radius = rng.uniform(0.04, 0.2, (count, 1, 1)) * side
        outlines = radius * _wavy_circles(rng, count)
        centres = rng.uniform(0.3, 0.7, (count, 1, 2)) * [shape.width, shape.height]
        drift = rng.normal(0, 0.003 * side, (count, 2))  # a frame
        tracks = _draw(rng, centres + outlines, drift, shape)
        annotations += (
            {"id": number, "video_id": video_id, "category_id": label + 1, "segmentations": masks}
            for number, (label, masks) in enumerate(
                zip(labels.tolist(), tracks), start=len(annotations) + 1
            )
        )

        # Predictions are wrong in size and place, by shares of the radius.
        followed = rng.integers(0, count, shape.predictions)
        strays = rng.random(shape.predictions) >= SAME_CLASS
        random_labels = rng.integers(0, shape.classes, shape.predictions)
        error = rng.exponential(0.15, (shape.predictions, 1, 1))
        larger = np.exp(rng.normal(0, 0.5, error.shape) * error)
        moved = rng.normal(0, 1, (shape.predictions, 1, 2)) * error * radius[followed]
        points = centres[followed] + moved + larger * outlines[followed]
        answers.append(
            {
                "image_size": (shape.height, shape.width),
                "pred_scores": np.exp(-error).ravel().tolist(),
                "pred_labels": np.where(strays, random_labels, labels[followed]).tolist(),
                "pred_ids": list(range(shape.predictions)),
                "pred_masks": _draw(rng, points, drift[followed], shape),
            }
        )
    names = [{"id": c, "name": f"class {c}"} for c in range(1, shape.classes + 1)]
    return {"videos": videos, "categories": names, "annotations": annotations}, answers


def _wavy_circles(rng: np.random.Generator, count: int) -> np.ndarray:
    """(N, 96, 2): points x, y around 0, at a distance of about 1."""
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    distance = 1 + 0.25 * np.sin(5 * angle + phase) + 0.1 * np.sin(11 * angle + 2 * phase)
    return distance[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _draw(
    rng: np.random.Generator, outlines: np.ndarray, drift: np.ndarray, shape: SetShape
) -> list[list[RLE | None]]:
    """N tracks, absent in some frames, of outlines (N, P, 2) that drift by (N, 2) pixels a frame."""
    limits = [shape.width - 1, shape.height - 1]
    tracks: list[list[RLE | None]] = []
    for points, step in zip(outlines, drift):
        visible = rng.random(shape.frames) < VISIBLE
        polygons = [np.clip(points + t * step, 0, limits).ravel() for t in range(shape.frames)]
        masks = coco_mask.frPyObjects([p.tolist() for p in polygons], shape.height, shape.width)
        tracks.append([mask if seen else None for mask, seen in zip(masks, visible)])
    return tracks

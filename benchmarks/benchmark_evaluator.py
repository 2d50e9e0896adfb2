#!/usr/bin/env python
"""Time YTVISEvaluator against what the official YouTube-VIS evaluation spends on mask IoU alone.

Builds a seeded set of tracks (by default the one of the reference measurements: 100 videos of 30
frames of 360x640, 100 predictions each, 270 labelled tracks, 40 classes), runs the evaluator on it,
and in the same run times samples of the ``pycocotools`` calls that the official code makes: merge
and area, each twice, for every pair of tracks of a class and every frame. The official sorting,
matching and accumulation, and the areas that it computes while loading a result file, are left out,
so the ratios are lower bounds. Times are CPU seconds of one process.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask
import torch
from tabulate import tabulate

from d2video.evaluation import YTVISEvaluator
from d2video.evaluation.vis.accumulate import accumulate, match
from d2video.evaluation.vis.compare import compare_video
from d2video.evaluation.vis.ground_truth import RLE, YTVISGroundTruth
from d2video.formats.rle import encode_tracks
from d2video.utils.errors import exit_on_user_error
from d2video.utils.files import replace_on_success

# Shares of the synthetic set, chosen so that it has the 270,000 masks of some 320 bytes and 11,200
# pairs of tracks of one class that the reference was measured with.
VISIBLE = 0.9  # of a track's frames
SAME_CLASS = 0.97  # of the predictions have the class of the object that they follow
ALIKE = 0.1  # of a video's objects have the class of its first


@dataclass(frozen=True)
class SetShape:
    """How large the synthetic set is; the defaults are the reference's."""

    videos: int = 100
    frames: int = 30
    height: int = 360
    width: int = 640
    predictions: int = 100  # a video
    tracks: int = 270  # labelled, over all videos
    classes: int = 40


@dataclass(frozen=True)
class SyntheticSet:
    """Labels, and a model's answers with masks as RLE, in the order of the videos."""

    annotations: dict[str, Any]
    answers: list[dict[str, Any]]


def make_set(shape: SetShape, seed: int) -> SyntheticSet:
    """Objects drifting over the frame, and predictions that follow them more or less well."""
    rng = np.random.default_rng(seed)
    size = {"height": shape.height, "width": shape.width}
    videos: list[dict] = []
    annotations: list[dict] = []
    answers: list[dict] = []
    per_video = np.diff(np.linspace(0, shape.tracks, shape.videos + 1).astype(int))
    for video_id, count in enumerate(per_video.tolist(), start=1):
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
                "pred_masks": objects.follow(rng, followed, error).draw(rng, shape),
            }
        )
    names = [{"id": c, "name": f"class {c}"} for c in range(1, shape.classes + 1)]
    return SyntheticSet(
        {"videos": videos, "categories": names, "annotations": annotations}, answers
    )


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


def _pairs(
    data: SyntheticSet, category_of_label: Sequence[int]
) -> list[tuple[list[RLE | None], list[RLE | None]]]:
    """(prediction, labelled track) of one video and class: all that the official code compares."""
    tracks: dict[tuple[int, int], list] = {}
    for track in data.annotations["annotations"]:
        key = track["video_id"], track["category_id"]
        tracks.setdefault(key, []).append(track["segmentations"])
    return [
        (masks, truth)
        for video_id, answer in enumerate(data.answers, start=1)
        for label, masks in zip(answer["pred_labels"], answer["pred_masks"])
        for truth in tracks.get((video_id, category_of_label[label]), [])
    ]


def _official_iou(prediction: list[RLE | None], truth: list[RLE | None]) -> float:
    """IoU of two tracks by the calls that the official code makes."""
    intersection = union = 0
    for d, g in zip(prediction, truth):
        if d is not None and g is not None:
            intersection += coco_mask.area(coco_mask.merge([d, g], True))
            union += coco_mask.area(coco_mask.merge([d, g], False))
        elif d is not None or g is not None:
            union += coco_mask.area(g if d is None else d)
    return float(intersection / union) if union else 0.0


def _official_encode(masks: torch.Tensor) -> list[RLE]:
    """Frame by frame, as evaluators built on the official code do."""
    return [coco_mask.encode(np.asfortranarray(mask.numpy().view(np.uint8))) for mask in masks]


def measure(
    data: SyntheticSet, repeats: int, sample_pairs: int = 100, dense_tracks: int = 10
) -> dict[str, int | float]:
    """Time our evaluator and samples of the official calls.

    Args:
        data: the set.
        repeats: rounds in which everything is timed once, in turn. The least time of each stage
            counts: other processes on the machine can only add to it.
        sample_pairs: about how many pairs of tracks the official IoU is timed on.
        dense_tracks: how many predictions are encoded from dense masks, by us and officially.

    Returns:
        The set's size: ``masks``, ``mask_bytes`` (mean length of a code), ``pairs``. CPU seconds
        for the whole set: ``process`` (RLE answers checked and compared with the labels),
        ``match`` and ``accumulate`` (what ``evaluate`` does besides gathering and writing),
        ``write`` (results.json and results.zip), ``encode`` (dense masks to RLE),
        ``official_encode`` and ``official_iou``; the three last ones scaled up from samples.
        ``ratio_rle`` and ``ratio_dense``, official / ours without and with encoding, on both sides
        without writing.
    """
    truth = YTVISGroundTruth.from_dict(data.annotations)
    category_ids = list(truth.categories)
    tracks = [track for answer in data.answers for track in answer["pred_masks"]]
    lengths = [len(mask["counts"]) for track in tracks for mask in track if mask is not None]
    pairs = _pairs(data, category_ids)
    pair_sample = pairs[:: max(len(pairs) // sample_pairs, 1)]
    dense = _decode(tracks[:: max(len(tracks) // dense_tracks, 1)][:dense_tracks])
    inputs = [{"video_id": video_id} for video_id in truth.videos]
    units = [
        unit
        for video, answer in zip(truth.videos.values(), data.answers)
        for unit in compare_video(
            video,
            [category_ids[label] for label in answer["pred_labels"]],
            answer["pred_scores"],
            answer["pred_masks"],
        )
    ]
    matches = match(units)

    with tempfile.TemporaryDirectory() as folder:
        evaluator = YTVISEvaluator(truth, {c: k for k, c in enumerate(category_ids)}, folder)

        def process() -> None:
            evaluator.reset()
            evaluator.process(inputs, data.answers)

        stages: dict[str, Callable[[], Any]] = {
            "process": process,
            "official_iou": lambda: [_official_iou(*pair) for pair in pair_sample],
            "evaluate": evaluator.evaluate,
            "match": lambda: match(units),
            "accumulate": lambda: accumulate(units, matches, category_ids),
            "encode": lambda: encode_tracks(dense),
            "official_encode": lambda: [_official_encode(track) for track in dense],
        }
        rounds = [
            {name: _cpu_seconds(work) for name, work in stages.items()} for _ in range(repeats)
        ]
    times: dict[str, int | float] = {name: min(r[name] for r in rounds) for name in stages}
    times["write"] = times.pop("evaluate") - times["match"] - times["accumulate"]
    times["official_iou"] *= len(pairs) / len(pair_sample)
    times["encode"] *= len(tracks) / len(dense)
    times["official_encode"] *= len(tracks) / len(dense)
    ours = times["process"] + times["match"] + times["accumulate"]
    with_encoding = times["official_encode"] + times["official_iou"]
    return {
        "masks": len(lengths),
        "mask_bytes": float(np.mean(lengths)),
        "pairs": len(pairs),
        **times,
        "ratio_rle": times["official_iou"] / ours,
        "ratio_dense": with_encoding / (times["encode"] + ours),
    }


def _cpu_seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _decode(tracks: Sequence[Sequence[RLE | None]]) -> torch.Tensor:
    """(N, L, H, W) bool."""
    size = next(mask["size"] for track in tracks for mask in track if mask is not None)
    dense = np.zeros((len(tracks), len(tracks[0]), *size), dtype=bool)
    for n, track in enumerate(tracks):
        for t, mask in enumerate(track):
            if mask is not None:
                dense[n, t] = coco_mask.decode(mask)
    return torch.from_numpy(dense)


def _table(times: dict[str, int | float]) -> str:
    ours = times["process"] + times["match"] + times["accumulate"]
    rows = [
        ("masks dense to RLE", times["encode"], times["official_encode"]),
        ("RLE answers checked and compared", times["process"], times["official_iou"]),
        ("matching", times["match"], None),
        ("accumulation", times["accumulate"], None),
        ("sum, model answers with RLE", ours, times["official_iou"]),
        (
            "sum, model answers with dense masks",
            ours + times["encode"],
            times["official_iou"] + times["official_encode"],
        ),
        ("results.json and results.zip", times["write"], None),
    ]
    return tabulate(
        [(*row, None if row[2] is None else row[2] / row[1]) for row in rows],
        ("CPU seconds", "ours", "official calls", "ratio"),
        floatfmt=".2f",
        missingval="-",
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


@exit_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    """Build the set, measure, print; ``arguments`` default to the command line's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    for size in fields(SetShape):
        parser.add_argument(f"--{size.name}", type=_positive, default=size.default)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--repeats", type=_positive, default=3, help="the least time of as many runs counts"
    )
    parser.add_argument("--output", help="write the figures to this JSON file")
    args = parser.parse_args(arguments)
    shape = SetShape(**{size.name: getattr(args, size.name) for size in fields(SetShape)})

    torch.set_num_threads(1)
    data = make_set(shape, args.seed)
    times = measure(data, args.repeats)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pycocotools": version("pycocotools"),
    }
    print(
        f"{shape.videos} videos x {shape.frames} frames of {shape.height}x{shape.width}, "
        f"{shape.predictions} predictions a video, {shape.tracks} labelled tracks, "
        f"{shape.classes} classes: {times['masks']} predicted masks of {times['mask_bytes']:.0f} "
        f"bytes, {times['pairs']} pairs of tracks"
    )
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(_table(times))
    if args.output:
        with replace_on_success(args.output) as partial:
            report = {
                "set": asdict(shape),
                "seed": args.seed,
                "repeats": args.repeats,
                "machine": machine,
                **times,
            }
            partial.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

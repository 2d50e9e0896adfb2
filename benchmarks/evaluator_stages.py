"""CPU seconds of YTVISEvaluator's stages, and of the official code's calls on samples."""

import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask
import torch

from d2video.evaluation import YTVISEvaluator
from d2video.evaluation.vis.accumulate import accumulate, match
from d2video.evaluation.vis.compare import compare_video
from d2video.evaluation.vis.ground_truth import RLE, YTVISGroundTruth
from d2video.formats.geometry.rle import encode_tracks
from d2video.structures.answers import VideoInstances

# What the official calls, and the encoding of dense masks, are timed on; the times are scaled up.
SAMPLE_PAIRS = 100  # of tracks, about
SAMPLE_TRACKS = 10

Track = list[RLE | None]


def measure(
    annotations: dict[str, Any], answers: list[VideoInstances], repeats: int
) -> dict[str, dict[str, float]]:
    """Time our evaluator and samples of the official calls.

    Args:
        annotations, answers: of :func:`.synthetic_tracks.make_set`.
        repeats: rounds in which everything is timed once, in turn. The least time of each stage
            counts: other processes on the machine can only add to it.

    Returns:
        for answers with ``RLE``, and with ``dense masks``, which are encoded first: CPU seconds for
        the whole set, ``ours`` and ``official``, and their ``ratio``, official / ours.
    """
    truth = YTVISGroundTruth.from_dict(annotations)
    category_ids = list(truth.categories)
    tracks = [track for answer in answers for track in answer["pred_masks"]]
    dense = _decode(tracks[:: max(len(tracks) // SAMPLE_TRACKS, 1)][:SAMPLE_TRACKS])
    pairs = _pairs(annotations, answers, category_ids)
    pair_sample = pairs[:: max(len(pairs) // SAMPLE_PAIRS, 1)]
    inputs = [{"video_id": video_id} for video_id in truth.videos]
    units = [
        unit
        for video, answer in zip(truth.videos.values(), answers)
        for unit in compare_video(
            video,
            [category_ids[label] for label in answer["pred_labels"]],
            answer["pred_scores"],
            answer["pred_masks"],
        )
    ]

    with tempfile.TemporaryDirectory() as folder:
        evaluator = YTVISEvaluator(truth, {c: k for k, c in enumerate(category_ids)}, folder)

        def process() -> None:
            evaluator.reset()
            evaluator.process(inputs, answers)

        stages: dict[str, Callable[[], Any]] = {
            "process": process,
            "official_iou": lambda: [_official_iou(*pair) for pair in pair_sample],
            "score": lambda: accumulate(units, match(units), category_ids),
            "encode": lambda: encode_tracks(dense),
            "official_encode": lambda: [_official_encode(track) for track in dense],
        }
        rounds = [
            {name: _cpu_seconds(work) for name, work in stages.items()} for _ in range(repeats)
        ]
    times = {name: min(each[name] for each in rounds) for name in stages}
    more_tracks = len(tracks) / len(dense)
    ours = times["process"] + times["score"]
    official = times["official_iou"] * len(pairs) / len(pair_sample)
    return {
        "RLE": _compared(ours, official),
        "dense masks": _compared(
            ours + times["encode"] * more_tracks, official + times["official_encode"] * more_tracks
        ),
    }


def _compared(ours: float, official: float) -> dict[str, float]:
    return {"ours": ours, "official": official, "ratio": official / ours}


def _cpu_seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _pairs(
    annotations: dict[str, Any], answers: list[VideoInstances], category_of_label: Sequence[int]
) -> list[tuple[Track, Track]]:
    """(prediction, labelled track) of one video and class: all that the official code compares."""
    tracks: dict[tuple[int, int], list[Track]] = {}
    for track in annotations["annotations"]:
        key = track["video_id"], track["category_id"]
        tracks.setdefault(key, []).append(track["segmentations"])
    return [
        (masks, truth)
        for video_id, answer in enumerate(answers, start=1)
        for label, masks in zip(answer["pred_labels"], answer["pred_masks"])
        for truth in tracks.get((video_id, category_of_label[label]), [])
    ]


def _official_iou(prediction: Track, truth: Track) -> float:
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


def _decode(tracks: Sequence[Track]) -> torch.Tensor:
    """(N, L, H, W) bool."""
    size = next(mask["size"] for track in tracks for mask in track if mask is not None)
    dense = np.zeros((len(tracks), len(tracks[0]), *size), dtype=bool)
    for n, track in enumerate(tracks):
        for t, mask in enumerate(track):
            if mask is not None:
                dense[n, t] = coco_mask.decode(mask)
    return torch.from_numpy(dense)

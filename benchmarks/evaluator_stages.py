"""CPU seconds of YTVISEvaluator's stages, and of the official code's calls on samples."""

import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask
import torch
from tabulate import tabulate

from benchmarks.synthetic_tracks import SyntheticSet
from d2video.evaluation import YTVISEvaluator
from d2video.evaluation.vis.accumulate import accumulate, match
from d2video.evaluation.vis.compare import compare_video
from d2video.evaluation.vis.ground_truth import RLE, YTVISGroundTruth
from d2video.formats.rle import encode_tracks


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


def table(times: dict[str, int | float]) -> str:
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

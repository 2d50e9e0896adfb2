"""CPU seconds of the evaluators beside the calls that the official codes make, on generated data.

YouTube-VIS: the official code calls ``pycocotools`` for every pair of tracks of a class and every frame:
merge and area, each twice. Its sorting, matching and accumulation, and the areas that it computes while
loading a result file, are left out, so the ratios are lower bounds. Result files are not written.

COCO: panoptic quality beside the calls of numpy that the package ``panopticapi`` makes for two label images
in memory; masks beside ``pycocotools.mask.encode`` one by one, as detectron2 calls it. The mask AP itself is
pycocotools' own code in both.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask
import torch
import torch.nn.functional as F
from detectron2.data import Metadata
from detectron2.structures import Boxes, Instances
from torch import Tensor

from d2video.evaluation.benchmark_tracks import SetShape, make_set
from d2video.evaluation.coco import COCOInstanceEvaluator
from d2video.evaluation.panoptic.quality import Segment, compare_image
from d2video.evaluation.vis.accumulate import accumulate, match
from d2video.evaluation.vis.compare import compare_video
from d2video.evaluation.vis.evaluator import YTVISEvaluator
from d2video.evaluation.vis.ground_truth import RLE, YTVISGroundTruth
from d2video.formats.coco import COCOInstances
from d2video.formats.geometry.rle import encode_runs, encode_tracks
from d2video.modeling.mask_runs import runs_of_logits
from d2video.structures.answers import VideoInstances

# What the official calls, and the encoding of masks, are timed on; the times are scaled up.
_SAMPLE_PAIRS = 100  # of tracks, about
_SAMPLE_TRACKS = 10
# Of VisTR's mask logits: a quarter of its input of 300x540.
_LOGITS = 75, 135

_Track = list[RLE | None]
_Work = Callable[[], Any]


def evaluator_figures(
    shape: SetShape | None = None, repeats: int = 5, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Time the evaluators and the official calls in turn, on one thread.

    Args:
        shape: of the generated set; None: 10 videos of 30 frames of 360x640 with 100 predictions.
        repeats: rounds in which everything is timed once. The median of each counts.

    Returns:
        by what is evaluated, ``ours`` and ``official``, in CPU seconds, and ``ratio``, official / ours.
        YouTube-VIS: of the whole set, from run-length codes, from dense masks on the host, and from the
        mask logits of a model, which are resized, thresholded and encoded first. COCO: of an image of the
        set's size.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        annotations, answers = make_set(shape or SetShape(videos=10), seed)
        work = {**_ytvis(annotations, answers), **_coco(answers[0])}
        rounds = [
            {name: _cpu_seconds(run) for name, (run, _) in work.items()} for _ in range(repeats)
        ]
    finally:
        torch.set_num_threads(threads)
    spent = {
        name: scale * statistics.median(each[name] for each in rounds)
        for name, (_, scale) in work.items()
    }
    ours, official = spent["compare"] + spent["score"], spent["official compare"]
    return {
        "YouTube-VIS, RLE": _beside(ours, official),
        **{
            f"YouTube-VIS, {form}": _beside(
                ours + spent[form], official + spent[f"official {form}"]
            )
            for form in ("dense masks", "mask logits")
        },
        **{
            f"COCO, {what}": _beside(spent[what], spent[f"official {what}"])
            for what in ("panoptic quality", "masks")
        },
    }


def _beside(ours: float, official: float) -> dict[str, float]:
    return {"ours": ours, "official": official, "ratio": official / ours}


def _cpu_seconds(work: _Work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _ytvis(
    annotations: dict[str, Any], answers: Sequence[VideoInstances]
) -> dict[str, tuple[_Work, float]]:
    """What is timed, and what its time is multiplied with."""
    truth = YTVISGroundTruth.from_dict(annotations)
    category_ids = list(truth.categories)
    evaluator = YTVISEvaluator(truth, {c: k for k, c in enumerate(category_ids)}, None)
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

    def process() -> None:
        evaluator.reset()
        evaluator.process(inputs, answers)

    pairs = _pairs(annotations, answers, category_ids)
    few_pairs = pairs[:: max(len(pairs) // _SAMPLE_PAIRS, 1)]
    tracks = [track for answer in answers for track in answer["pred_masks"]]
    few_tracks = tracks[:: max(len(tracks) // _SAMPLE_TRACKS, 1)][:_SAMPLE_TRACKS]
    dense = torch.stack([_decoded(track) for track in few_tracks])  # (N, L, H, W)
    logits = _logits_of(dense)
    size, more = (dense.shape[2], dense.shape[3]), len(tracks) / len(dense)
    return {
        "compare": (process, 1),
        "score": (lambda: accumulate(units, match(units), category_ids), 1),
        "official compare": (
            lambda: [_official_iou(*pair) for pair in few_pairs],
            len(pairs) / len(few_pairs),
        ),
        "dense masks": (lambda: encode_tracks(dense), more),
        "official dense masks": (lambda: [_official_codes(track) for track in dense], more),
        # As many at once as VisTR encodes together.
        "mask logits": (
            lambda: [
                encode_runs(runs_of_logits(part.flatten(0, 1), size)) for part in logits.split(8, 1)
            ],
            more,
        ),
        "official mask logits": (
            lambda: [_official_codes(_official_masks(track, size)) for track in logits],
            more,
        ),
    }


def _coco(answer: VideoInstances) -> dict[str, tuple[_Work, float]]:
    """As :func:`_ytvis`, of one mask of each track; every other one is taken for a label."""
    codes = [next(filter(None, track), None) for track in answer["pred_masks"]]
    masks = _decoded([code for code in codes if code is not None])
    count, (height, width) = len(masks), masks.shape[1:]
    true_ids, predicted_ids = np.zeros((2, height, width), np.int32)
    for number, mask in enumerate(masks.numpy(), start=1):
        (true_ids if number % 2 else predicted_ids)[mask] = number
    labels = dict(enumerate(answer["pred_labels"], start=1))
    seen, found = (np.unique(ids[ids > 0]).tolist() for ids in (true_ids, predicted_ids))
    segments = [Segment(number, labels[number], False) for number in seen]
    predicted = {number: labels[number] for number in found}

    image: Any = {"id": 1, "file_name": "", "height": height, "width": width}
    file = COCOInstances("", {1: "thing"}, {1: image}, None)
    metadata = Metadata(thing_classes=["thing"], thing_dataset_id_to_contiguous_id={1: 0})
    evaluator = COCOInstanceEvaluator(file, metadata, None)
    instances = Instances(
        (height, width),
        pred_boxes=Boxes(torch.zeros(count, 4)),
        scores=torch.ones(count),
        pred_classes=torch.zeros(count, dtype=torch.int64),
        pred_masks=masks,
    )

    def process() -> None:
        evaluator.reset()
        evaluator.process([{"image_id": 1}], [{"instances": instances}])

    return {
        "panoptic quality": (
            lambda: compare_image(true_ids, segments, predicted_ids, predicted).matches(),
            1,
        ),
        "official panoptic quality": (lambda: _official_overlaps(true_ids, predicted_ids), 1),
        "masks": (process, 1),
        "official masks": (lambda: [_official_codes(mask[None]) for mask in masks], 1),
    }


def _pairs(
    annotations: dict[str, Any], answers: Iterable[VideoInstances], category_of_label: Sequence[int]
) -> list[tuple[_Track, _Track]]:
    """(prediction, labelled track) of one video and class: all that the official code compares."""
    tracks: dict[tuple[int, int], list[_Track]] = {}
    for track in annotations["annotations"]:
        key = track["video_id"], track["category_id"]
        tracks.setdefault(key, []).append(track["segmentations"])
    return [
        (masks, truth)
        for video_id, answer in enumerate(answers, start=1)
        for label, masks in zip(answer["pred_labels"], answer["pred_masks"])
        for truth in tracks.get((video_id, category_of_label[label]), [])
    ]


def _official_iou(prediction: _Track, truth: _Track) -> float:
    """IoU of two tracks by the calls that the official code makes."""
    intersection = union = 0
    for d, g in zip(prediction, truth):
        if d is not None and g is not None:
            intersection += coco_mask.area(coco_mask.merge([d, g], True))
            union += coco_mask.area(coco_mask.merge([d, g], False))
        elif d is not None or g is not None:
            union += coco_mask.area(g if d is None else d)
    return float(intersection / union) if union else 0.0


def _official_codes(masks: Tensor) -> list[RLE]:
    """(L, H, W) bool, one by one, as evaluators built on the official codes do."""
    return [coco_mask.encode(np.asfortranarray(mask.numpy().view(np.uint8))) for mask in masks]


def _official_masks(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(L, h, w) of a track to (L, H, W) bool, as the official VisTR."""
    return F.interpolate(logits[:, None], size=size, mode="bilinear")[:, 0] > 0


def _official_overlaps(true_ids: np.ndarray, predicted_ids: np.ndarray) -> dict[Any, int]:
    """The calls of panopticapi.evaluation on two label images."""
    np.unique(predicted_ids, return_counts=True)
    both = true_ids.astype(np.uint64) * 256**3 + predicted_ids.astype(np.uint64)
    return dict(zip(*np.unique(both, return_counts=True)))


def _decoded(track: _Track) -> Tensor:
    """(L, H, W) bool."""
    size = next(mask["size"] for mask in track if mask is not None)
    masks = np.zeros((len(track), *size), bool)
    for mask, code in zip(masks, track):
        if code is not None:
            mask[:] = coco_mask.decode(code)
    return torch.from_numpy(masks)


def _logits_of(masks: Tensor) -> Tensor:
    """(N, L, H, W) bool to logits (N, L, h, w) that give about these masks."""
    shares = F.interpolate(masks.float(), size=_LOGITS, mode="bilinear", antialias=True)
    noise = torch.randn(shares.shape, generator=torch.Generator().manual_seed(0))
    return 16 * shares - 8 + 0.5 * noise

"""HOTA, CLEAR and identity metrics of tracking, by TrackEval's own code, in memory.

Protocols: MOTChallenge (Dendorfer et al., 2021) and MOTS20 (Voigtlaender et al., 2019); metrics: HOTA
(Luiten et al., 2021), CLEAR (Bernardin and Stiefelhagen, 2008), identity (Ristani et al., 2016).
TrackEval's classes are used without its evaluator and readers, which work on folders, print, and
write files beside the results.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pycocotools.mask as coco_mask

from d2video.formats.mot_ground_truth import MOTS_IGNORE_CLASS, MOTRows, MOTSRows
from d2video.formats.mot_results import MOTS_PEDESTRIAN, MOTResults
from d2video.utils.errors import UserError

R = TypeVar("R", MOTRows, MOTResults)

# What TrackEval's classes prepare of a sequence for its metrics: lists over the frames (``gt_ids`` (G,) and
# ``tracker_ids`` (D,) from 0, ``similarity_scores`` (G,D), ...). Added here: ``names``, by ``gt_ids`` the ids
# in the labels.
SequenceData = dict[str, Any]
Measure = Callable[[SequenceData], Any]

# TrackEval's: {"HOTA": {field: value}, "CLEAR": ..., "Identity": ..., "Count": ...}. Fractions, not
# percentages; fields of HOTA are arrays over its 19 thresholds 0.05, 0.10, ... 0.95.
Metrics = dict[str, dict[str, Any]]

# What TrackEval calls the rules of each benchmark. DanceTrack and MOT16 follow those of MOT17.
_PREPROCESSING = {
    "MOT15": "MOT15",
    "MOT16": "MOT17",
    "MOT17": "MOT17",
    "MOT20": "MOT20",
    "DanceTrack": "MOT17",
}
_MOT_CLASSES = (
    *("pedestrian", "person_on_vehicle", "car", "bicycle", "motorbike", "non_mot_vehicle"),
    *("static_person", "distractor", "occluder", "occluder_on_ground", "occluder_full"),
    *("reflection", "crowd"),
)
NUM_MOT_CLASSES = len(_MOT_CLASSES)

_ONE_CLASS = "pedestrian"  # what the class that is evaluated is called, whatever it is
_SIMILAR_CLASS = "person"  # and its distractors

# The flag of objects that are taken out with the results on them.
DISTRACTOR = 2

# Reported percentages by TrackEval's family of metrics, and the counts, all of CLEAR.
_PERCENTAGES = {
    "HOTA": ("HOTA", "DetA", "AssA", "LocA"),
    "CLEAR": ("MOTA", "MOTP"),
    "Identity": ("IDF1", "IDP", "IDR"),
}
COUNTS = ("IDSW", "FP", "FN", "MT", "PT", "ML", "Frag")


def require_trackeval() -> Any:
    """The trackeval package.

    Raises:
        UserError: it is not installed.
    """
    try:
        import trackeval.datasets
        import trackeval.metrics
    except ImportError as error:
        raise UserError(
            f"tracking metrics need the package trackeval ({error}): run pip install --no-deps "
            "trackeval==1.3.0"
        ) from error
    return trackeval


def families(data: SequenceData) -> Metrics:
    """The metrics of a sequence."""
    return {family: metric.eval_sequence(data) for family, metric in _families().items()}


def box_metrics(
    benchmark: str,
    truth: MOTRows,
    results: MOTResults,
    num_frames: int,
    sequence: str,
    measure: Measure = families,
) -> Any:
    """Metrics of tracked boxes in one sequence.

    *All* labelled objects are given: results on a distractor are taken out before anything is
    counted, and which those are depends on the benchmark.

    Args:
        benchmark: MOT15, MOT16, MOT17, MOT20 or DanceTrack.
        truth: the labelled objects; MOTChallenge's classes 1 to 13, of no effect for MOT15.
        results: the tracks.
        num_frames: of the sequence.
        sequence: name for messages.
        measure: what to compute from TrackEval's data; by default :data:`Metrics`.

    Raises:
        UserError: an unknown class, or no trackeval.
    """
    odd = truth.cls[(truth.cls < 1) | (truth.cls > len(_MOT_CLASSES))]
    if _PREPROCESSING[benchmark] != "MOT15" and odd.size:
        raise UserError(
            f"{sequence}: class {odd[0]} in the ground truth; those of MOTChallenge are 1 to "
            f"{len(_MOT_CLASSES)}; correct the file"
        )
    challenge = require_trackeval().datasets.MotChallenge2DBox
    # Its __init__ only looks for folders.
    dataset = object.__new__(challenge)
    dataset.benchmark, dataset.do_preproc = _PREPROCESSING[benchmark], True
    dataset.class_name_to_class_id = {name: i + 1 for i, name in enumerate(_MOT_CLASSES)}
    dataset.valid_class_numbers = list(range(1, len(_MOT_CLASSES) + 1))
    raw = _raw_boxes(dataset, truth, results, num_frames) | {
        "gt_classes": _by_frame(truth.frame, num_frames, truth.cls),
        "gt_extras": [
            {"zero_marked": flags} for flags in _by_frame(truth.frame, num_frames, truth.flag)
        ],
    }
    counts = truth.flag != 0
    if _PREPROCESSING[benchmark] != "MOT15":
        counts &= truth.cls == 1
    return _measured(dataset, raw, sequence, truth.id[counts], measure)


def class_box_metrics(
    truth: MOTRows,
    results: MOTResults,
    num_frames: int,
    sequence: str,
    benchmark: str | None = None,
    measure: Measure = families,
) -> Any:
    """Metrics of the tracked boxes of one class in one sequence.

    Rows with flag 0 are regions to ignore: a result that no object takes, and more than half of
    which lies in such a region, is taken out before anything is counted. So are objects with the flag
    :data:`DISTRACTOR`, and the results that they take. Without such rows the rules are those of MOT17
    without distractors.

    Args:
        truth: the labelled objects of the class, its distractors, and its regions to ignore.
        results: the tracks of the class.
        num_frames: of the sequence.
        sequence: name for messages.
        benchmark: KITTI also removes results of at most 25 pixels' height that match no object.
            BDD100K measures boxes from their first pixel to their last one, one less than they cover. All
            others: neither.
        measure: as in :func:`box_metrics`.

    Raises:
        UserError: no trackeval.
    """
    # Its rules are those of the class for BDD100K, and two more.
    dataset = object.__new__(require_trackeval().datasets.Kitti2DBox)  # as above
    dataset.class_name_to_class_id = {_ONE_CLASS: 1, _SIMILAR_CLASS: 2}
    dataset.max_occlusion, dataset.max_truncation = 0, 0
    dataset.min_height = 25 if benchmark == "KITTI" else -math.inf
    if benchmark == "BDD100K":
        truth, results = _to_last_pixel(truth), _to_last_pixel(results)
    objects, regions = truth.select(truth.flag != 0), truth.select(truth.flag == 0)
    raw = _raw_boxes(dataset, objects, results, num_frames)
    # Which half of a box lies where is asked in this format; the overlaps are there already.
    raw |= {key: [_corners(b) for b in raw[key]] for key in ("gt_dets", "tracker_dets")}
    classes = np.where(objects.flag == DISTRACTOR, 2, 1)
    raw["gt_classes"] = _by_frame(objects.frame, num_frames, classes)
    # What is hard to see is a distractor here, and treated alike.
    raw["gt_extras"] = [
        {"occlusion": np.zeros(len(b)), "truncation": np.zeros(len(b))} for b in raw["gt_dets"]
    ]
    raw["gt_crowd_ignore_regions"] = _by_frame(regions.frame, num_frames, _corners(regions.box))
    ids = objects.id[objects.flag != DISTRACTOR]
    return _measured(dataset, raw, sequence, ids, measure)


def mask_metrics(
    truth: MOTSRows,
    results: MOTSRows,
    num_frames: int,
    sequence: str,
    class_number: int = MOTS_PEDESTRIAN,
    measure: Measure = families,
) -> Any:
    """Metrics of the tracked masks of one class in one sequence by the rules of MOTS20.

    sMOTSA, MOTSA and MOTSP are what ``CLEAR`` calls sMOTA, MOTA and MOTP.

    Args:
        truth: the labelled objects and the regions to ignore (class 10).
        results: the tracks.
        num_frames: of the sequence.
        sequence: name for messages.
        class_number: objects and tracks of other classes do not count.
        measure: as in :func:`box_metrics`.

    Raises:
        UserError: no trackeval.
    """
    challenge = require_trackeval().datasets.MOTSChallenge
    dataset = object.__new__(challenge)  # as above
    dataset.class_name_to_class_id = {
        _ONE_CLASS: str(class_number),
        "ignore": str(MOTS_IGNORE_CLASS),
    }
    is_region = truth.cls == MOTS_IGNORE_CLASS
    regions, objects = truth.select(is_region), truth.select(~is_region)
    true_masks = _by_frame(objects.frame, num_frames, objects.rle)
    masks = _by_frame(results.frame, num_frames, results.rle)
    raw = {
        "gt_ids": _by_frame(objects.frame, num_frames, _ranks(objects.id)),
        "gt_dets": [rles.tolist() for rles in true_masks],
        "gt_classes": _by_frame(objects.frame, num_frames, objects.cls),
        "gt_ignore_region": [
            coco_mask.merge(rles.tolist(), intersect=False)
            for rles in _by_frame(regions.frame, num_frames, regions.rle)
        ],
        "tracker_ids": _by_frame(results.frame, num_frames, _ranks(results.id)),
        "tracker_dets": [rles.tolist() for rles in masks],
        "tracker_classes": _by_frame(results.frame, num_frames, results.cls),
        "similarity_scores": [
            challenge._calculate_mask_ious(a.tolist(), b.tolist(), is_encoded=True, do_ioa=False)
            for a, b in zip(true_masks, masks, strict=True)
        ],
    }
    ids = objects.id[objects.cls == class_number]
    return _measured(dataset, raw, sequence, ids, measure)


def combine_metrics(per_sequence: Mapping[str, Metrics]) -> Metrics:
    """The metrics of several sequences taken together; not the means of theirs.

    Args:
        per_sequence: name → what :func:`box_metrics` or :func:`mask_metrics` returned; not empty.
    """
    # By name, so that the last bits do not depend on the order in which sequences were met.
    ordered = {name: per_sequence[name] for name in sorted(per_sequence)}
    return {
        family: metric.combine_sequences({name: m[family] for name, m in ordered.items()})
        for family, metric in _families().items()
    }


def average_classes(per_class: Mapping[str, Metrics], by: str = "class") -> Metrics:
    """TrackEval's averages of classes.

    Args:
        per_class: name → what :func:`combine_metrics` returned; not empty.
        by: "class": ``cls_comb_cls_av``, the means of the classes' ratios, the sums of their counts;
            "det": ``cls_comb_det_av``, the ratios of the summed counts, in which frequent classes weigh
            more.
    """
    return {
        family: getattr(metric, f"combine_classes_{by}_averaged")(
            {name: metrics[family] for name, metrics in per_class.items()}
        )
        for family, metric in _families().items()
    }


def summarize(metrics: Metrics, masks: bool = False) -> dict[str, float]:
    """What papers report.

    Args:
        metrics: of one sequence, or of several combined.
        masks: whether they are those of masks; then ``sMOTSA`` comes first.

    Returns:
        In percent HOTA, DetA, AssA, LocA (means over HOTA's thresholds), MOTA, MOTP, IDF1, IDP and
        IDR; as counts IDSW, FP, FN, MT, PT, ML and Frag.
    """
    summary = {"sMOTSA": 100 * float(metrics["CLEAR"]["sMOTA"])} if masks else {}
    for family, names in _PERCENTAGES.items():
        summary |= {name: 100 * float(np.mean(metrics[family][name])) for name in names}
    clear = metrics["CLEAR"]
    return summary | {k: int(clear[f"CLR_{k}" if k in ("FP", "FN") else k]) for k in COUNTS}


def _raw_boxes(
    dataset: Any, truth: MOTRows, results: MOTResults, num_frames: int
) -> dict[str, Any]:
    """What TrackEval's readers of boxes have in common; the tracks are all of class 1."""
    true_boxes = _by_frame(truth.frame, num_frames, truth.box)
    boxes = _by_frame(results.frame, num_frames, results.box)
    return {
        "gt_ids": _by_frame(truth.frame, num_frames, _ranks(truth.id)),
        "gt_dets": true_boxes,
        "tracker_ids": _by_frame(results.frame, num_frames, _ranks(results.id)),
        "tracker_dets": boxes,
        "tracker_confidences": [np.zeros(len(b)) for b in boxes],  # of no effect
        "tracker_classes": [np.ones(len(b), np.int64) for b in boxes],
        "similarity_scores": [
            dataset._calculate_box_ious(a, b, box_format="xywh")
            for a, b in zip(true_boxes, boxes, strict=True)
        ],
    }


def _measured(
    dataset: Any, raw: dict[str, Any], sequence: str, ids: np.ndarray, measure: Measure
) -> Any:
    """Prepare a sequence by TrackEval's rules and measure it.

    Args:
        ids: of the labelled objects that count.
    """
    raw |= {"num_timesteps": len(raw["gt_ids"]), "seq": sequence}
    data = dataset.get_preprocessed_seq_data(raw, _ONE_CLASS)
    names = np.unique(ids)  # TrackEval numbers them in this order
    assert len(names) == data["num_gt_ids"], (sequence, len(names), data["num_gt_ids"])
    return measure(data | {"names": names})


def _corners(boxes: np.ndarray) -> np.ndarray:
    """Left, top, width, height as left, top, right, bottom."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _to_last_pixel(rows: R) -> R:
    sizes = np.maximum(rows.box[:, 2:] - 1, 0)
    return replace(rows, box=np.concatenate([rows.box[:, :2], sizes], axis=1))


def _ranks(ids: np.ndarray) -> np.ndarray:
    """Ids as ranks: TrackEval makes a table as long as the largest."""
    return np.unique(ids, return_inverse=True)[1].reshape(-1)


def _by_frame(frame: np.ndarray, num_frames: int, column: np.ndarray) -> list[np.ndarray]:
    """A column (N, ...) as a list of ``num_frames`` arrays; rows of a frame keep their order."""
    order = np.argsort(frame, kind="stable")
    cuts = np.searchsorted(frame[order], np.arange(2, num_frames + 1))
    return np.split(column[order], cuts)


def _families() -> dict[str, Any]:
    metrics = require_trackeval().metrics
    quiet = {"PRINT_CONFIG": False}
    return {
        "HOTA": metrics.HOTA(),
        "CLEAR": metrics.CLEAR(dict(quiet)),
        "Identity": metrics.Identity(dict(quiet)),
        "Count": metrics.Count(),
    }

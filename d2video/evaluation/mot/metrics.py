"""HOTA, CLEAR and identity metrics of tracking, by TrackEval's own code, in memory.

Protocols: MOTChallenge (Dendorfer et al., 2021) and MOTS20 (Voigtlaender et al., 2019); metrics: HOTA
(Luiten et al., 2021), CLEAR (Bernardin and Stiefelhagen, 2008), identity (Ristani et al., 2016).
TrackEval's classes are used without its evaluator and readers, which work on folders, print, and
write files beside the results.

Everything is given frame by frame: a list with one array (or list) for each of T frames.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask

from d2video.formats.mot_results import MOTS_PEDESTRIAN
from d2video.formats.mot_rows import MOTS_IGNORE_CLASS, masks_overlap
from d2video.utils.errors import UserError

# TrackEval's: {"HOTA": {field: value}, "CLEAR": ..., "Identity": ..., "Count": ...}. Fractions, not
# percentages; fields of HOTA are arrays over its 19 thresholds 0.05, 0.10, ... 0.95.
Metrics = dict[str, dict[str, Any]]

# What TrackEval calls the rules of each benchmark. DanceTrack and MOT16 follow those of MOT17.
BENCHMARKS = {
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

# Reported fields: name → (family, field, whether it is a fraction).
_REPORTED = {
    "HOTA": ("HOTA", "HOTA", True),
    "DetA": ("HOTA", "DetA", True),
    "AssA": ("HOTA", "AssA", True),
    "LocA": ("HOTA", "LocA", True),
    "MOTA": ("CLEAR", "MOTA", True),
    "MOTP": ("CLEAR", "MOTP", True),
    "IDF1": ("Identity", "IDF1", True),
    "IDP": ("Identity", "IDP", True),
    "IDR": ("Identity", "IDR", True),
    "IDSW": ("CLEAR", "IDSW", False),
    "FP": ("CLEAR", "CLR_FP", False),
    "FN": ("CLEAR", "CLR_FN", False),
    "MT": ("CLEAR", "MT", False),
    "PT": ("CLEAR", "PT", False),
    "ML": ("CLEAR", "ML", False),
    "Frag": ("CLEAR", "Frag", False),
}
_REPORTED_OF_MASKS = {"sMOTSA": ("CLEAR", "sMOTA", True), **_REPORTED}


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


def box_metrics(
    benchmark: str,
    *,
    true_ids: Sequence[np.ndarray],
    true_boxes: Sequence[np.ndarray],
    true_classes: Sequence[np.ndarray],
    true_flags: Sequence[np.ndarray],
    ids: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    sequence: str = "the sequence",
) -> Metrics:
    """Metrics of tracked boxes in one sequence.

    *All* labelled objects are given: results on a distractor are taken out before anything is
    counted, and which those are depends on the benchmark.

    Args:
        benchmark: a key of :data:`BENCHMARKS`.
        true_ids: T of (n,) int, the labelled objects, each at most once a frame.
        true_boxes: T of (n, 4) XYWH, pixels.
        true_classes: T of (n,) int, MOTChallenge's 1 to 13; of no effect for MOT15.
        true_flags: T of (n,), 0 where the label is not to be evaluated.
        ids: T of (m,) int, the tracks, each at most once a frame.
        boxes: T of (m, 4) XYWH, from the same origin.
        sequence: name for messages.

    Raises:
        UserError: an unknown benchmark or class, an id twice in a frame, or no trackeval.
    """
    if benchmark not in BENCHMARKS:
        raise UserError(
            f"{sequence}: benchmark {benchmark!r} is unknown; it is one of {', '.join(BENCHMARKS)}"
        )
    classes = np.concatenate([np.zeros(0, np.int64), *true_classes])
    if BENCHMARKS[benchmark] != "MOT15" and classes.size:
        odd = classes[(classes < 1) | (classes > len(_MOT_CLASSES))]
        if odd.size:
            raise UserError(
                f"{sequence}: class {odd[0]} in the ground truth; those of MOTChallenge are 1 to "
                f"{len(_MOT_CLASSES)}; correct the file"
            )
    challenge = require_trackeval().datasets.MotChallenge2DBox
    # Its __init__ only looks for folders.
    dataset = object.__new__(challenge)
    dataset.benchmark, dataset.do_preproc = BENCHMARKS[benchmark], True
    dataset.class_name_to_class_id = {name: i + 1 for i, name in enumerate(_MOT_CLASSES)}
    dataset.valid_class_numbers = list(range(1, len(_MOT_CLASSES) + 1))
    true_boxes = [np.asarray(b, np.float64).reshape(-1, 4) for b in true_boxes]
    boxes = [np.asarray(b, np.float64).reshape(-1, 4) for b in boxes]
    raw = {
        "gt_dets": true_boxes,
        "gt_classes": true_classes,
        "gt_extras": [{"zero_marked": flags} for flags in true_flags],
        "tracker_dets": boxes,
        "tracker_confidences": [np.zeros(len(b)) for b in boxes],  # of no effect
        "tracker_classes": [np.ones(len(b), np.int64) for b in boxes],
        "similarity_scores": [
            challenge._calculate_box_ious(a, b, box_format="xywh")
            for a, b in zip(true_boxes, boxes, strict=True)
        ],
    }
    return _metrics(dataset, raw, true_ids, ids, sequence)


def mask_metrics(
    *,
    true_ids: Sequence[np.ndarray],
    true_classes: Sequence[np.ndarray],
    true_masks: Sequence[Sequence[dict[str, Any]]],
    ids: Sequence[np.ndarray],
    classes: Sequence[np.ndarray],
    masks: Sequence[Sequence[dict[str, Any]]],
    sequence: str = "the sequence",
) -> Metrics:
    """Metrics of tracked masks in one sequence by the rules of MOTS20.

    sMOTSA, MOTSA and MOTSP are what ``CLEAR`` calls sMOTA, MOTA and MOTP.

    Args:
        true_ids, true_classes, true_masks: T of n labelled objects: ids, classes (2 pedestrian, 10
            region to ignore, all else not evaluated) and compressed RLEs. Ids of objects are unique
            in a frame, those of regions need not be.
        ids, classes, masks: T of m results; those of a class other than 2 do not count.
        sequence: name for messages.

    Raises:
        UserError: an id twice in a frame, masks of a frame that overlap, or no trackeval.
    """
    challenge = require_trackeval().datasets.MOTSChallenge
    for owner, per_frame in (("ground truth", true_masks), ("results", masks)):
        frame = next((t for t, rles in enumerate(per_frame) if masks_overlap(rles)), None)
        if frame is not None:
            raise UserError(
                f"{sequence}, frame {frame + 1}: masks of the {owner} overlap, which MOTS does not "
                "allow; give each pixel to one of them"
            )
    dataset = object.__new__(challenge)  # as above
    dataset.class_name_to_class_id = {
        "pedestrian": str(MOTS_PEDESTRIAN),
        "ignore": str(MOTS_IGNORE_CLASS),
    }
    ignored = [np.asarray(c) == MOTS_IGNORE_CLASS for c in true_classes]
    objects = [
        [rle for rle, skip in zip(rles, skips, strict=True) if not skip]
        for rles, skips in zip(true_masks, ignored, strict=True)
    ]
    raw = {
        "gt_dets": objects,
        "gt_classes": [np.asarray(c)[~skips] for c, skips in zip(true_classes, ignored)],
        "gt_ignore_region": [
            coco_mask.merge([rle for rle, skip in zip(rles, skips) if skip], intersect=False)
            for rles, skips in zip(true_masks, ignored)
        ],
        "tracker_dets": masks,
        "tracker_classes": [np.asarray(c) for c in classes],
        "similarity_scores": [
            challenge._calculate_mask_ious(a, b, is_encoded=True, do_ioa=False)
            for a, b in zip(objects, masks, strict=True)
        ],
    }
    true_ids = [np.asarray(i)[~skips] for i, skips in zip(true_ids, ignored)]
    return _metrics(dataset, raw, true_ids, ids, sequence)


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


def summarize(metrics: Metrics, masks: bool = False) -> dict[str, float]:
    """What papers report.

    Args:
        metrics: of one sequence, or of several combined.
        masks: whether they are those of masks; then ``sMOTSA`` comes first.

    Returns:
        In percent HOTA, DetA, AssA, LocA (means over HOTA's thresholds), MOTA, MOTP, IDF1, IDP and
        IDR; as counts IDSW, FP, FN, MT, PT, ML and Frag.
    """
    return {
        name: 100 * float(np.mean(metrics[family][field]))
        if is_fraction
        else int(metrics[family][field])
        for name, (family, field, is_fraction) in (
            _REPORTED_OF_MASKS if masks else _REPORTED
        ).items()
    }


def _metrics(
    dataset: Any,
    raw: dict[str, Any],
    true_ids: Sequence[np.ndarray],
    ids: Sequence[np.ndarray],
    sequence: str,
) -> Metrics:
    raw |= {
        "num_timesteps": len(ids),
        "seq": sequence,
        "gt_ids": _compact(true_ids),
        "tracker_ids": _compact(ids),
    }
    for owner, per_frame in (("ground truth", true_ids), ("results", ids)):
        for t, frame_ids in enumerate(per_frame):
            if len(np.unique(frame_ids)) < len(frame_ids):
                raise UserError(
                    f"{sequence}, frame {t + 1}: an id stands twice in the {owner}; each object "
                    "has one entry a frame"
                )
    data = dataset.get_preprocessed_seq_data(raw, "pedestrian")
    return {family: metric.eval_sequence(data) for family, metric in _families().items()}


def _compact(ids: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Ids as ranks: TrackEval makes a table as long as the largest."""
    flat = np.concatenate([np.zeros(0, np.int64), *ids]).astype(np.int64)
    ranks = np.unique(flat, return_inverse=True)[1].reshape(-1)
    return np.split(ranks, np.cumsum([len(i) for i in ids])[:-1])


def _families() -> dict[str, Any]:
    metrics = require_trackeval().metrics
    quiet = {"PRINT_CONFIG": False}
    return {
        "HOTA": metrics.HOTA(),
        "CLEAR": metrics.CLEAR(dict(quiet)),
        "Identity": metrics.Identity(dict(quiet)),
        "Count": metrics.Count(),
    }

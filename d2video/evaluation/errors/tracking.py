"""Errors of tracking: missed and false boxes, changes of identity, and what each costs in HOTA.

If masks are tracked, read "mask" for "box". Shapes: G labelled and D predicted boxes of a
frame, N objects of a sequence.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from d2video.evaluation.errors.breakdown import Breakdown, Row, find_errors
from d2video.evaluation.errors.objects import MIN_IOU, NO_IOU
from d2video.evaluation.mot.evaluator import MOTEvaluator
from d2video.evaluation.mot.metrics import SequenceData, require_trackeval

# Why a labelled box has no match, and why a predicted one has none.
MISSES = ("not seen", "poor overlap", "taken")
FALSE = ("background", "poor overlap", "duplicate")
# What came before an object's track changed, the first that applies.
CHANGES = ("swap", "absence", "miss", "nearness", "other")
TRACKED, IDENTITY = "tracked", "identity"
_TRACKED_SHARE = 0.8  # of its frames, CLEAR's "mostly tracked"
_LISTS = ("gt_ids", "tracker_ids", "similarity_scores")  # over the frames
_EPSILON = np.finfo("float").eps
_HOTA = ("HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr")


@dataclass
class Track:
    """A labelled object, frame by frame.

    Attributes:
        tracks: by frame, from 0, the predicted track that matches; None where none does.
        misses: ``MISSES`` of the frames without a match.
        ious: highest IoU in each of its frames.
        changes: frame → one of ``CHANGES``, of the frames where another track takes over.
        fragments: how often it is found again after a frame without a match.
    """

    tracks: dict[int, int | None] = field(default_factory=dict)
    misses: Counter[str] = field(default_factory=Counter)
    ious: list[float] = field(default_factory=list)
    changes: dict[int, str] = field(default_factory=dict)
    fragments: int = 0

    def cause(self) -> str:
        """``TRACKED``, or what costs most frames: one of ``MISSES``, or ``IDENTITY``: frames with another
        track than the most frequent one."""
        found = Counter(track for track in self.tracks.values() if track is not None)
        if found.total() >= _TRACKED_SHARE * len(self.tracks) and not self.changes:
            return TRACKED
        lost = {name: self.misses[name] for name in MISSES}
        lost[IDENTITY] = found.total() - max(found.values(), default=0)
        return max(lost, key=lost.__getitem__)


@dataclass(frozen=True)
class SequenceErrors:
    """Errors in the tracks of one class in a sequence.

    Attributes:
        names: ids of the objects in the labels.
        tracks: N, one for each object.
        false: predicted boxes without a match, of each of ``FALSE``.
        hota: by the error that is corrected, TrackEval's figures.
    """

    names: np.ndarray
    tracks: list[Track]
    false: Counter[str]
    hota: dict[str, dict[str, Any]]


def match_frames(data: SequenceData) -> Iterator[np.ndarray]:
    """By frame the place of the predicted box that each labelled one is matched with, (G,) int64, -1 for
    none: as CLEAR does (Bernardin and Stiefelhagen, 2008), at an IoU of 0.5."""
    before = np.full(data["num_gt_ids"], -1)
    for truth, found, iou in _frames(data):
        match = np.full(len(truth), -1)
        if len(truth) and len(found):  # else the matches before remain those to be continued
            worth = 1000 * (found == before[truth][:, None]) + iou
            worth = np.where(iou < MIN_IOU - _EPSILON, 0, worth)
            rows, columns = linear_sum_assignment(-worth)
            good = worth[rows, columns] > _EPSILON
            match[rows[good]] = columns[good]
            before[:] = -1
            before[truth[rows[good]]] = found[columns[good]]
        yield match


def sequence_errors(data: SequenceData) -> SequenceErrors:
    """Follow each labelled object through a sequence."""
    tracks = [Track() for _ in data["names"]]
    false: Counter[str] = Counter()
    # By predicted track the object that it followed last; by object the frame and track of its last match;
    # and the objects with a match in the last frame that has boxes of both kinds.
    owner: dict[int, int] = {}
    last: dict[int, tuple[int, int]] = {}
    current: set[int] = set()
    matches = [*match_frames(data)]
    for t, ((truth, found, iou), match) in enumerate(zip(_frames(data), matches, strict=True)):
        best = iou.max(1, initial=0)
        for g, i in enumerate(truth.tolist()):
            track, place = tracks[i], int(match[g])
            track.ious.append(float(best[g]))
            if place < 0:
                track.tracks[t] = None
                track.misses[MISSES[_step(best[g])]] += 1
                continue
            taken = int(found[place])
            if i in last and last[i][1] != taken:
                tests = (
                    owner.get(taken, i) != i,
                    any(frame not in track.tracks for frame in range(last[i][0], t)),
                    t - last[i][0] > 1,
                    bool((np.delete(iou[:, place], g) >= NO_IOU).any()),
                    True,
                )
                track.changes[t] = CHANGES[tests.index(True)]
            track.fragments += i in last and i not in current
            track.tracks[t], last[i], owner[taken] = taken, (t, taken), i
        if len(truth) and len(found):
            current = {*truth[match >= 0].tolist()}
        free = np.setdiff1d(np.arange(len(found)), match)
        false.update(FALSE[_step(value)] for value in iou.max(0, initial=0)[free].tolist())
    metric = require_trackeval().metrics.HOTA()
    with np.errstate(invalid="ignore"):  # 0 / 0 where a correction takes out all of an object
        hota = {name: metric.eval_sequence(each) for name, each in corrected(data, matches).items()}
    return SequenceErrors(data["names"], tracks, false, hota)


def corrected(data: SequenceData, matches: Sequence[np.ndarray]) -> dict[str, SequenceData]:
    """Correct one kind of error at a time.

    "identities": each match gets the object's own track. "localisation": matches have IoU 1. "false
    boxes" and "missed boxes": boxes without a match are taken out.

    Args:
        matches: of :func:`match_frames`.

    Returns:
        The data by the name of what is corrected.
    """
    variants: dict[str, dict[str, list[np.ndarray]]] = defaultdict(
        lambda: {key: [] for key in _LISTS}
    )
    for (truth, found, iou), match in zip(_frames(data), matches, strict=True):
        rows = np.flatnonzero(match >= 0)
        columns = match[rows]
        better, ids = iou.copy(), found + data["num_gt_ids"]
        better[rows, columns] = 1
        ids[columns] = truth[rows]
        kept = np.sort(columns)
        of_frame = {
            "none corrected": (truth, found, iou),
            "missed boxes": (truth[rows], found, iou[rows]),
            "false boxes": (truth, found[kept], iou[:, kept]),
            "localisation": (truth, found, better),
            "identities": (truth, ids, iou),
        }
        for name, parts in of_frame.items():
            for values, part in zip(variants[name].values(), parts, strict=True):
                values.append(part)
    return {
        name: {
            **lists,
            "num_gt_ids": data["num_gt_ids"],
            "num_tracker_ids": data["num_tracker_ids"] + data["num_gt_ids"],
            "num_gt_dets": sum(map(len, lists["gt_ids"])),
            "num_tracker_dets": sum(map(len, lists["tracker_ids"])),
        }
        for name, lists in variants.items()
    }


@find_errors.register
def _(evaluator: MOTEvaluator, min_score: float) -> list[Breakdown]:
    found = evaluator.measure(sequence_errors)
    if not found:
        return []
    errors = {(sequence, name): e for sequence, each in found.items() for name, e in each.items()}
    numbers = {n: each.result_numbers for n, each in evaluator.ground_truth.sequences.items()}
    rows = [
        _object_row(sequence, name, class_name, track, numbers[sequence])
        for (sequence, class_name), each in errors.items()
        for name, track in zip(each.names.tolist(), each.tracks, strict=True)
    ]
    if not rows:
        return []
    groups = {"all": [*errors.values()]}
    if len(evaluator.scored) > 1:
        groups |= {
            f"class {k}": [e for (_, c), e in errors.items() if c == k] for k in evaluator.scored
        }
    groups |= {f"sequence {k}": [*each.values()] for k, each in found.items()}
    tables = {
        "HOTA if an error were corrected, classes weighted by their boxes": _hota_table(errors),
        "labelled boxes, in % (matched: IoU ≥ 0.5), and false boxes": [
            _box_row(name, each) for name, each in groups.items()
        ],
        "objects, and changes of their track by what came before": [
            _identity_row(name, each) for name, each in groups.items()
        ],
    }
    return [Breakdown(evaluator.name, tables, rows)]


def _frames(data: SequenceData) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """By frame the objects (G,) and the tracks (D,), from 0, and their IoUs (G,D)."""
    for truth, found, iou in zip(*(data[key] for key in _LISTS), strict=True):
        yield truth.astype(int), found.astype(int), iou.reshape(len(truth), len(found))


def _step(iou: float) -> int:
    """0 below NO_IOU, 1 below MIN_IOU, else 2."""
    return int(iou >= NO_IOU) + int(iou >= MIN_IOU - _EPSILON)


def _object_row(
    sequence: str, name: int, class_name: str, track: Track, numbers: Sequence[int]
) -> Row:
    return {
        "sequence": sequence,
        "object": name,
        "class": class_name,
        "frames": len(track.tracks),
        "matched": len(track.tracks) - track.misses.total(),
        **{cause: track.misses[cause] for cause in MISSES},
        "mean_iou": float(np.mean(track.ious)),
        "fragments": track.fragments,
        "changes": [{"frame": numbers[t], "after": cause} for t, cause in track.changes.items()],
        "cause": track.cause(),
    }


def _hota_table(errors: Mapping[tuple[str, str], SequenceErrors]) -> list[Row]:
    metric = require_trackeval().metrics.HOTA()
    rows: list[Row] = []
    for name in next(iter(errors.values())).hota:
        combined = metric.combine_sequences({key: each.hota[name] for key, each in errors.items()})
        figures = {key: 100 * float(np.mean(combined[key])) for key in _HOTA}
        now = rows[0]["HOTA"] if rows else None
        gain = None if now is None else figures["HOTA"] - now
        rows.append({"error": name, "gain": gain, **figures})
    return rows


def _box_row(name: str, errors: Sequence[SequenceErrors]) -> Row:
    tracks = [track for each in errors for track in each.tracks]
    misses = sum((track.misses for track in tracks), Counter())
    false = sum((each.false for each in errors), Counter())
    boxes = sum(len(track.tracks) for track in tracks)
    share = 100 / max(boxes, 1)
    ious = [iou for track in tracks for iou in track.ious]
    return {
        "of": name,
        "boxes": boxes,
        "matched": share * (boxes - misses.total()),
        **{cause: share * misses[cause] for cause in MISSES},
        "mean IoU": float(np.mean(ious)) if ious else None,
        "false": false.total(),
        **{f"… {cause}": false[cause] for cause in FALSE},
    }


def _identity_row(name: str, errors: Sequence[SequenceErrors]) -> Row:
    tracks = [track for each in errors for track in each.tracks]
    changes = Counter(cause for track in tracks for cause in track.changes.values())
    return {
        "of": name,
        "objects": len(tracks),
        "tracked": sum(track.cause() == TRACKED for track in tracks),
        "fragments": sum(track.fragments for track in tracks),
        "changes": changes.total(),
        **{cause: changes[cause] for cause in CHANGES},
    }

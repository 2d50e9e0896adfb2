"""Two verdicts on a registered data set: check_dataset's, and that of training on it and scoring it."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from d2video.projects.trackformer.training.frame_pair_mapper import FramePairMapper
from detectron2.data import MetadataCatalog

from d2video.cli.dataset_check import check_registered
from d2video.data.clip_sampling import WindowSampler
from d2video.data.loading import load_records
from d2video.data.mappers.classification import VideoClipMapper
from d2video.data.mappers.clip import ClipDatasetMapper
from d2video.data.mappers.image import ImageDatasetMapper
from d2video.data.records import is_labelled, object_classes, without_degenerate_boxes
from d2video.evaluation import EVALUATOR_REGISTRY, build_evaluator
from d2video.formats.faults import Doubt, Fault
from d2video.utils.errors import UserError
from tests.helpers.perfect_answers import perfect_answers

# What a perfect answer reaches, by evaluator and metric.
BEST = {
    ("bbox", "AP"): 100,
    ("segm", "AP"): 100,
    ("panoptic_seg", "PQ"): 100,
    ("mot", "HOTA"): 100,
    ("classification", "top1"): 100,
}


def check_agrees(name: str) -> None:
    """Compare both verdicts; where check_dataset has doubts, either verdict will do.

    Raises:
        UserError: both refuse the data set.
        AssertionError: one does.
    """
    findings = check_registered(name).findings
    faults = [str(each) for each in findings if isinstance(each, Fault)]
    doubts = [each for each in findings if isinstance(each, Doubt)]
    refusal = None
    try:
        train_and_score(name)
    except UserError as error:
        refusal = error
    assert refusal is None or faults or doubts, f"check finds nothing, but: {refusal}"
    assert refusal is not None or not faults, f"it trains and scores, but check: {faults[0]}"
    if refusal is not None:
        raise refusal


def train_and_score(name: str) -> None:
    """Map all records for training, if they have labels, and score what they say.

    Raises:
        UserError: a reader, the mapper or the evaluator refuses something, or the score is not the
            best one.
    """
    records = load_records(name)
    if not records:
        raise UserError("no records")
    labelled = all(map(is_labelled, records))
    if labelled:
        records = without_degenerate_boxes(records, name)
        count = sum(len(object_classes(record)) for record in records)
    for record in records:
        take(record, labelled)
    if MetadataCatalog.get(name).get("evaluator_type") not in EVALUATOR_REGISTRY:
        return
    with tempfile.TemporaryDirectory() as folder:
        evaluator = build_evaluator(name, folder)
        if not labelled:
            return
        evaluator.reset()
        evaluator.process(*perfect_answers(name, records))
        results = evaluator.evaluate()
    scores = {key: results[key[0]][key[1]] for key in BEST if key[0] in results}
    if not scores and count:
        raise UserError(f"nothing is scored of {count} objects")
    for key, score in scores.items():
        if not math.isclose(score, BEST[key], abs_tol=1e-6):
            raise UserError(f"a perfect answer has {key[1]} {score} of {BEST[key]}, {key[0]}")


def take(record: Mapping[str, Any], train: bool) -> None:
    """Let the mapper of a kind of record take it, all frames of it."""
    if "video_id" in record and "file_name" in record:
        VideoClipMapper(train, num_frames=2, seconds=0, augmentations=[])(record)
        return
    if not train:
        is_video = "length" in record
        mapper = (ClipDatasetMapper if is_video else ImageDatasetMapper)(False, augmentations=[])
        mapped = mapper(record)
        for _ in mapped["image"]:  # of a video they are read when they are asked for
            pass
        return
    if "length" not in record:
        masks = "segments_info" in record or _any_masks([record["annotations"]])
        ImageDatasetMapper(True, augmentations=[], with_masks=masks)(record)
    elif "sequence" in record:
        masks = _any_masks(record["annotations"])
        mapper = FramePairMapper(True, augmentations=[], with_masks=masks, frame_range=0)
        for t in range(record["length"]):
            mapper({**record, "key_frame": t})
    else:
        sampler = WindowSampler(num_frames=record["length"])
        ClipDatasetMapper(True, sampler=sampler, augmentations=[])({**record, "key_frame": 0})


def _any_masks(frames: Sequence[Sequence[Mapping[str, Any]]]) -> bool:
    return any("segmentation" in each for frame in frames for each in frame)

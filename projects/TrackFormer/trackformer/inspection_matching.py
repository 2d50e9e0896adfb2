"""The matching of queries and objects in training, as tables and pictures."""

from collections.abc import Iterator

import numpy as np
from d2video.projects.trackformer.inspection_pairs import (
    Kind,
    Matching,
    match_sample,
    training_samples,
)
from d2video.projects.trackformer.trackformer import TrackFormer
from detectron2.config import CfgNode
from torchvision.ops import box_iou

from d2video.evaluation.classes import match_test_sets
from d2video.inspection import Look, shown
from d2video.inspection.drawing import boxed, sheet
from d2video.report import Section, Table
from d2video.structures.boxes import box_cxcywh_to_xyxy
from d2video.visualization.primitives import label_of_class

_SAMPLES = 3
_COLOURS: dict[Kind, tuple[int, int, int]] = {
    "kept": (90, 220, 100),
    "false negative": (255, 150, 40),
    "new": (90, 160, 255),
    "false positive": (255, 70, 80),
    "gone": (190, 190, 190),
}


def matching_sections(model: TrackFormer, look: Look, cfg: CfgNode) -> Iterator[Section]:
    """Some training samples of each of DATASETS.TEST."""
    names = cfg.DATASETS.TEST
    for name, classes in zip(names, match_test_sets(cfg, model), strict=True):
        note = (
            f"Pairs of frames of {name}, as training sees them, without dropout. A track query of the frame "
            "before keeps its object (kept), has lost it (gone), or is added to be rejected (false "
            "positive). Object queries have to find objects whose track query was dropped (false negative), "
            "and new ones."
        )
        media, tables = [], []
        for number, sample in enumerate(training_samples(cfg, name, classes, _SAMPLES)):
            matching = match_sample(model, sample, number)
            picture = _picture(sample, matching, cfg.INPUT.FORMAT == "BGR")
            caption = (
                f"sample {number}: its track queries, its objects, and what the queries predict"
            )
            media.append(look.media(f"matching_{len(look.pictures)}", picture, caption, wide=True))
            tables.append(_table(look, matching, f"sample {number}"))
        yield Section(f"Matching in training, on {name}", [note], media, tables)


def _table(look: Look, matching: Matching, title: str) -> Table:
    count, names = len(matching.track_boxes), look.predictor.class_names
    current = matching.current
    assert current.ids is not None
    rows: list[list[str | float | None]] = []
    for pair in matching.pairs:
        query = "none"
        if pair.query is not None:
            kind, number = ("track", 0) if pair.query < count else ("object", count)
            query = f"{kind} query {pair.query - number}"
        score = iou = None
        label = target = "none"
        if pair.target is not None:
            index = int(current.classes[pair.target])
            label, target = label_of_class(index, names), str(int(current.ids[pair.target]))
            if pair.query is not None:
                score = float(matching.probabilities[pair.query, index])
                both = (matching.boxes[[pair.query]], current.boxes[[pair.target]])
                iou = float(box_iou(*map(box_cxcywh_to_xyxy, both)))
        elif pair.query is not None:
            score = float(matching.probabilities[pair.query].max())
        rows.append([pair.kind, query, target, label, score, iou])
    header = ["kind", "query", "object", "class", "score", "IoU"]
    caption = f"{title}: queries and objects; the score is that of the object's class, else of the best one"
    return Table(caption, header, rows, decimals=2)


def _picture(sample: dict, matching: Matching, bgr: bool) -> np.ndarray:
    """The previous frame with track queries, and the frame with objects and predictions."""
    before, now = (
        shown(frame["image"].permute(1, 2, 0).numpy()[:, :, :: -1 if bgr else 1])
        for frame in (sample["previous"][0], sample)
    )
    predicted = now
    previous, current = matching.previous, matching.current
    assert previous.ids is not None
    assert current.ids is not None
    for pair in matching.pairs:
        colour, label = _COLOURS[pair.kind], str(pair.kind)
        if pair.target is not None:
            number = int(current.ids[pair.target])
            label = f"{number} {pair.kind}"
            now = boxed(now, current.boxes[pair.target], colour, label)
        if pair.query is not None:
            predicted = boxed(predicted, matching.boxes[pair.query], colour, label)
        if pair.kind == "false negative":
            [row] = (previous.ids == number).nonzero()[:, 0].tolist()
            before = boxed(before, previous.boxes[row], colour, label)
        elif pair.kind != "new":
            assert pair.query is not None
            before = boxed(before, matching.track_boxes[pair.query], colour, label)
    return sheet([before, now, predicted], ["track queries, before", "objects", "predictions"])

"""DETR's inside on one image (Carion et al., 2020, figures 3 and 6).

Shapes: Q: queries, L: decoder layers.
"""

from collections.abc import Iterator

import numpy as np
from d2video.projects.detr.detr import DETR
from d2video.projects.detr.inspection_data import data_sections
from torch import Tensor

from d2video.inspection import Look, QueryRun, record_queries, sections, shown
from d2video.inspection.drawing import boxed, mark, sheet
from d2video.report import Section, Table
from d2video.visualization.primitives import label_of_class

_OBJECTS = 6  # with pictures of their own, unless --queries names some


@sections.register
def inspect_detr(model: DETR, look: Look) -> Iterator[Section]:
    """The page of DETR; see :mod:`d2video.inspection`."""
    look.takes("points", "queries", "layer", "data")
    (frame,) = look.frames(1)
    (item,) = look.inputs([frame])
    canvas, padding = model.batch([item[None]])
    run = record_queries(model.network, lambda: model.predict(canvas[:, 0], padding))
    scores, classes = model.best_classes(run.predictions.logits[-1, 0])
    queries = look.chosen("query", look.queries, len(scores))
    found = [query for query in best_queries(scores) if scores[query] >= look.score]
    note = "The model's answer, and below it the inside of its queries."
    if not (queries or found):
        note = f"No query has a score of {look.score:g} or more. The best ones are shown."
    queries = queries or found or best_queries(scores)
    names = look.predictor.class_names
    titles = [
        f"query {query}: {label_of_class(int(classes[query]), names)} {scores[query]:.2f}"
        for query in queries
    ]
    picture = shown(frame)
    boxes = run.predictions.boxes[-1, 0]
    height, width = frame.shape[:2]
    where = [(x / width, y / height) for x, y in look.points]
    where = where or [tuple(centre) for centre in boxes[queries, :2].clamp(0, 0.999).tolist()]
    answer = look.predictor.predict(frame).plot(score_threshold=look.score)
    yield Section("Detections", [note], [look.media("detections", answer, "the model's answer")])
    if run.encoder or look.points:
        yield _encoder_section(run, look, picture, where)
    yield _decoder_section(run, look, picture, queries, titles)
    yield _layer_section(model, run, look, picture, queries)
    if look.cfg is not None:
        yield from data_sections(model, look, look.cfg)


def best_queries(scores: Tensor, count: int = _OBJECTS) -> list[int]:
    """The queries of scores (Q,) with the highest ones, best first, at most ``count``."""
    return scores.argsort(descending=True)[:count].tolist()


def _encoder_section(
    run: QueryRun, look: Look, picture: np.ndarray, where: list[tuple[float, float]]
) -> Section:
    layer = look.layer_of("encoder", len(run.encoder))
    attention = run.encoder_attention(where, layer)
    media = [
        look.media(
            f"encoder_{row}",
            mark(attention.picture(picture, row), point),
            f"from the point at {point[0] * 100:.0f} %, {point[1] * 100:.0f} %",
        )
        for row, point in enumerate(where)
    ]
    note = (
        f"Where the image points under the crosses look in layer {layer} of the encoder, mean over heads. "
        "Of deformable attention the sampled points are shown; larger dots weigh more."
    )
    return Section("Encoder self-attention", [note], media)


def _decoder_section(
    run: QueryRun, look: Look, picture: np.ndarray, queries: list[int], titles: list[str]
) -> Section:
    layer = look.layer_of("decoder", len(run.decoder))
    attention = run.decoder_attention(queries, layer)
    media = []
    for row, (query, title) in enumerate(zip(queries, titles, strict=True)):
        drawn = boxed(attention.picture(picture, row), run.predictions.boxes[-1, 0, query])
        media.append(look.media(f"decoder_query{query}", drawn, title))
    for row, (query, title) in enumerate(zip(queries, titles, strict=True)):
        heads = range(attention.weights.shape[1])
        by_head = [attention.picture(picture, row, head) for head in heads]
        drawn = sheet(by_head, [f"head {head}" for head in heads], columns=4)
        media.append(
            look.media(f"decoder_query{query}_heads", drawn, f"{title}, by head", wide=True)
        )
    note = (
        f"Where the queries of the detections look in layer {layer} of the decoder: the mean over the heads, "
        "then each head."
    )
    return Section("Decoder cross-attention", [note], media)


def _layer_section(
    model: DETR, run: QueryRun, look: Look, picture: np.ndarray, queries: list[int]
) -> Section:
    """The boxes of some queries, layer by layer."""
    drawn, rows = [], []
    for layer, (logits, boxes) in enumerate(
        zip(run.predictions.logits[:, 0], run.predictions.boxes[:, 0], strict=True)
    ):
        scores, classes = model.best_classes(logits)
        cell = picture
        for query in queries:
            cell = boxed(cell, boxes[query])
        drawn.append(cell)
        for query in queries:
            label = label_of_class(int(classes[query]), look.predictor.class_names)
            box = boxes[query] * boxes.new_tensor(picture.shape[1::-1]).repeat(2)
            rows.append([str(layer), str(query), label, float(scores[query]), *box.tolist()])
    titles = [f"layer {layer}" for layer in range(len(drawn))]
    media = [look.media("layers", sheet(drawn, titles, columns=3), "boxes by layer", wide=True)]
    header = ["layer", "query", "class", "score", "cx", "cy", "width", "height"]
    table = Table("classes and boxes (pixels of the picture) by layer", header, rows, decimals=2)
    return Section(
        "Decoder layers",
        ["What each layer of the decoder makes of the same queries."],
        media,
        [table],
    )

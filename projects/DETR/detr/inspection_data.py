"""DETR's query slots and decoder layers over a dataset (Carion et al., 2020, figures 4 and 7).

Shapes: Q: queries, L: decoder layers, M: images.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from d2video.projects.detr.detr import DETR
from d2video.projects.detr.postprocess import Detections, instances_of
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Instances
from torch import Tensor
from torchvision.ops import batched_nms

from d2video.data import build_test_loader
from d2video.data.class_matching import ClassMatch
from d2video.evaluation.build import build_evaluator
from d2video.evaluation.classes import match_test_sets
from d2video.evaluation.coco import COCOInstanceEvaluator
from d2video.evaluation.mapped import MappedClasses
from d2video.inspection import Look
from d2video.inspection.drawing import box_scatter, sheet
from d2video.modeling.set_prediction import answer_size
from d2video.report import Chart, Section, Table
from d2video.utils.errors import UserError

_SLOTS = 20  # that are drawn, as in the paper
_NMS_IOU = 0.5
Scores = list[list[dict[str, float]]]
"""AP, AP50, ... of each decoder layer, without and with NMS."""


def data_sections(model: DETR, look: Look, cfg: CfgNode) -> Iterator[Section]:
    """Query slots and decoder layers over each of DATASETS.TEST."""
    for name, classes in zip(cfg.DATASETS.TEST, match_test_sets(cfg, model), strict=True):
        boxes, scores = over_data(model, cfg, name, classes)
        slots = look.chosen("query", look.queries, boxes.shape[1]) or [
            *range(min(_SLOTS, boxes.shape[1]))
        ]
        drawn = sheet(
            [box_scatter(boxes[:, q]) for q in slots], [f"query {q}" for q in slots], columns=5
        )
        note = (
            f"Each dot is the centre of a box that the query predicts in one of the {len(boxes)} images of "
            f"{name}, whatever its class. Green boxes are small, red ones wide, blue ones high."
        )
        media = [
            look.media(f"slots_{len(look.pictures)}", drawn, f"{len(slots)} query slots", wide=True)
        ]
        yield Section(f"Query slots over {name}", [note], media)
        if scores is None:
            note = f"{name} has no labelled objects, so the decoder layers are not compared."
            yield Section(f"Decoder layers over {name}", [note])
        else:
            yield _layer_section(name, scores)


def _layer_section(name: str, scores: Scores) -> Section:
    header = ["layer", "AP", "AP with NMS", "AP50", "AP50 with NMS"]
    rows: list[list[str | float | None]] = [
        [str(layer), *(each[metric] for metric in ("AP", "AP50") for each in pair)]
        for layer, pair in enumerate(scores)
    ]
    curves = {
        f"{metric}{', NMS' if nms else ''}": [
            (i, pair[nms][metric]) for i, pair in enumerate(scores)
        ]
        for metric in ("AP", "AP50")
        for nms in (0, 1)
    }
    note = (
        "Box AP if the predictions of a decoder layer are the answer, and with non-maximum suppression at "
        f"IoU {_NMS_IOU:g}. In a trained DETR the first layer gains by NMS, and the last one does not."
    )
    table = Table(f"box AP by decoder layer on {name}", header, rows)
    return Section(
        f"Decoder layers over {name}", [note], tables=[table], charts=[Chart("box AP", curves)]
    )


@torch.no_grad()
def over_data(
    model: DETR, cfg: CfgNode, name: str, classes: ClassMatch | None = None
) -> tuple[Tensor, Scores | None]:
    """Run a model on a labelled dataset of images.

    Args:
        model: in evaluation mode.
        cfg: its config.
        name: a registered dataset, or the path of labels.
        classes: of the model and the dataset, see :func:`match_test_sets`.

    Returns:
        the boxes that the last layer's queries predict, (M, Q, 4), cxcywh in [0, 1], on the CPU, and
        the box AP of each layer; None for a dataset without labelled objects.

    Raises:
        UserError: the dataset has no boxes of images.
    """
    depth = len(model.network.transformer.decoder.layers)
    evaluators = [
        [_box_evaluator(model, cfg, name, classes) for _ in range(2)] for _ in range(depth)
    ]
    for pair in evaluators:
        for evaluator in pair:
            evaluator.reset()
    boxes = []
    for batch in build_test_loader(cfg, name):
        canvas, padding = model.batch([sample["image"][None] for sample in batch])
        predictions = model.predict(canvas[:, 0], padding)
        boxes.append(predictions.boxes[-1].cpu())
        sizes = [answer_size(sample) for sample in batch]
        for layer, pair in enumerate(evaluators):
            found = [
                detections_of(
                    model, predictions.logits[layer, i], predictions.boxes[layer, i], size
                )
                for i, size in enumerate(sizes)
            ]
            thinned = [_suppressed(each) for each in found]
            for evaluator, answers in zip(pair, (found, thinned), strict=True):
                evaluator.process(batch, [{"instances": each} for each in answers])
    results = [[evaluator.evaluate().get("bbox") for evaluator in pair] for pair in evaluators]
    labelled = all(each is not None for pair in results for each in pair)
    return torch.cat(boxes), results if labelled else None


def detections_of(model: DETR, logits: Tensor, boxes: Tensor, size: tuple[int, int]) -> Instances:
    """The boxes of all queries of an image, logits (Q, K + 1) and boxes (Q, 4), that show things."""
    scores, classes = model.best_classes(logits)
    wanted = scores >= model.score_threshold
    if model.panoptic:
        wanted &= classes < model.panoptic.num_things
    queries = wanted.nonzero()[:, 0]
    found = Detections(queries, scores[queries], classes[queries])
    return instances_of(found, boxes, None, size)


def _suppressed(found: Instances) -> Instances:
    boxes = found.pred_boxes.tensor
    return found[batched_nms(boxes, found.scores, found.pred_classes, _NMS_IOU)]


def _box_evaluator(
    model: DETR, cfg: CfgNode, name: str, classes: ClassMatch | None
) -> DatasetEvaluator:
    kind = MetadataCatalog.get(name).get("evaluator_type")
    if kind == "labels":
        use = replace(model.label_use(cfg), needs_masks=False)
        return build_evaluator(name, "", classes, use)
    if kind not in ("coco", "coco_panoptic_seg"):
        raise UserError(
            f"dataset {name} has no boxes of single images: name one in COCO's format, or labels that "
            "'d2video check' reads"
        )
    boxes = COCOInstanceEvaluator.from_dataset(name, None, classes)
    return boxes if classes is None else MappedClasses(boxes, classes)

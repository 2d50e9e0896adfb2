"""How queries and objects are matched, in a few figures.

Shapes: L: decoder layers, B: batch, Q: queries, n: track queries, G: targets of a batch.
"""

from dataclasses import dataclass, field

import torch

from d2video.modeling.losses import ClassLoss
from d2video.modeling.matcher import Matches
from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ImageTargets
from d2video.structures.boxes import box_cxcywh_to_xyxy, box_iou

_NONE = -1


@dataclass
class MatchingStatistics:
    """The matches of batches, one after the other.

    Attributes:
        queries: of each object the query that it has in the last layer, or -1, over all batches. Without
            track queries, whose object is known.
        changes, pairs: how many objects have another query in a decoder layer than in the layer before,
            and of how many objects and layers.
        iou, score: sums over the matches of the last layer: the IoU of the boxes, and the score of the
            object's class.
        matches: of the last layer.
        num_queries: Q without track queries.
    """

    queries: list[int] = field(default_factory=list)
    changes: int = 0
    pairs: int = 0
    iou: float = 0.0
    score: float = 0.0
    matches: int = 0
    num_queries: int = 0

    @torch.no_grad()
    def add(
        self,
        predictions: Predictions,
        matches: Matches,
        targets: list[ImageTargets],
        class_loss: ClassLoss,
        num_known: int = 0,
    ) -> None:
        """Take a batch.

        Args:
            predictions, matches, targets: see :class:`~d2video.modeling.criterion.SetCriterion`.
            class_loss: how logits are read.
            num_known: n, the first of the Q queries.
        """
        num_layers, _, num_queries, _ = predictions.logits.shape
        self.num_queries = num_queries - num_known
        boxes = torch.cat([target.boxes for target in targets])
        classes = torch.cat([target.classes for target in targets])
        found = torch.full((num_layers, len(classes)), _NONE, device=classes.device)
        found[matches.layer, matches.target] = matches.query - num_known
        free = found[-1] >= 0
        self.queries += found[-1].masked_fill(~free, _NONE).tolist()
        self.changes += int((found[1:] != found[:-1])[:, free].sum())
        self.pairs += (num_layers - 1) * int(free.sum())
        last = matches.of_layer(num_layers - 1)
        place = (last.batch, last.query)
        predicted = box_cxcywh_to_xyxy(predictions.boxes[-1][place].float())
        overlap = box_iou(predicted, box_cxcywh_to_xyxy(boxes[last.target]), 1e-6)[0]
        scores = class_loss.probabilities(predictions.logits[-1][place].float())
        self.iou += float(overlap.sum())
        self.score += float(scores.gather(1, classes[last.target][:, None]).sum())
        self.matches += len(last.target)


def matching_figures(
    processes: list[MatchingStatistics], before: list[list[int]] | None = None
) -> dict[str, float]:
    """The figures of all processes together, in percent; without those that nothing is known of.

    Args:
        processes: the statistics of each.
        before: ``queries`` of each, of the same samples at an earlier time.

    Returns:
        "matched_iou" and "matched_score": the mean IoU of matched boxes and the mean score of the
        object's class; "queries_matched": the part of the queries that some object has;
        "matches_changed_by_layer": the part of the objects whose query is another than in the decoder
        layer before; "matches_changed": than at the earlier time (F. Li et al.: DN-DETR, CVPR 2022,
        section 3.2, call it instability).
    """
    figures = {}
    if matches := sum(each.matches for each in processes):
        figures["matched_iou"] = 100 * sum(each.iou for each in processes) / matches
        figures["matched_score"] = 100 * sum(each.score for each in processes) / matches
    used = {query for each in processes for query in each.queries} - {_NONE}
    if used:
        figures["queries_matched"] = 100 * len(used) / processes[0].num_queries
    if pairs := sum(each.pairs for each in processes):
        changes = sum(each.changes for each in processes)
        figures["matches_changed_by_layer"] = 100 * changes / pairs
    if before and list(map(len, before)) == [len(each.queries) for each in processes]:
        now = [query for each in processes for query in each.queries]
        earlier = [query for queries in before for query in queries]
        both = [pair for pair in zip(now, earlier, strict=True) if _NONE not in pair]
        if both:
            figures["matches_changed"] = 100 * sum(a != b for a, b in both) / len(both)
    return figures

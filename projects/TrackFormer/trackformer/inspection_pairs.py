"""TrackFormer's matching of queries and objects in a training step (Meinhardt et al., 2022, sec. 3.3).

Shapes: n: track queries, Q: object queries, N = n + Q, K: classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import torch
from d2video.projects.trackformer.trackformer import TrackFormer
from d2video.projects.trackformer.training.track_queries import NO_OBJECT
from detectron2.config import CfgNode
from torch import Tensor

from d2video.data import build_train_loader
from d2video.data.class_matching import ClassMatch
from d2video.modeling.targets import ImageTargets
from d2video.utils.random_state import kept_random_state

Kind = Literal["kept", "false negative", "new", "false positive", "gone"]
"""A track query with its object; an object whose track query was dropped, and one that was not there
before, which object queries have to find; a track query that never had an object, and one whose object
has left the frame."""


@dataclass
class Pair:
    """A query and an object.

    Attributes:
        query: the network's row, track queries first; None: more objects than queries.
        target: the object's row in the frame's targets; None: the query has to find nothing.
    """

    kind: Kind
    query: int | None
    target: int | None


@dataclass
class Matching:
    """The last frame of a training sample; all on the CPU.

    Attributes:
        pairs: of track queries, then of the other objects.
        track_boxes: (n, 4), where the track queries start, cxcywh in the previous frame.
        boxes, probabilities: (N, 4) and (N, K), predictions of the last decoder layer.
        previous, current: the objects of the frame before and of this one.
    """

    pairs: list[Pair]
    track_boxes: Tensor
    boxes: Tensor
    probabilities: Tensor
    previous: ImageTargets
    current: ImageTargets


def match_sample(model: TrackFormer, sample: dict, seed: int = 0) -> Matching:
    """What a training step makes of a sample, in the model's present mode.

    Args:
        sample: of :class:`.frame_pair_mapper.FramePairMapper`.
        seed: of the track queries that are dropped and added.
    """
    frames, padding, targets, before = model.training_inputs([sample])
    with torch.no_grad(), kept_random_state(model.device):
        torch.manual_seed(seed)
        output, tracks, rows = model.follow(frames, padding, targets, before)
        matches = model.matcher(output, targets[-1], rows).of_layer(len(output.logits) - 1)
    assert tracks is not None
    assert rows is not None
    assert tracks.matched is not None
    previous, current = (_on_cpu(each) for [each] in targets[-2:])
    found = dict(zip(matches.target.tolist(), matches.query.tolist(), strict=True))
    return Matching(
        pairs_of(rows[0].cpu(), tracks.matched[0].cpu(), found, previous, current),
        tracks.boxes[0].float().cpu(),
        output.boxes[-1, 0].cpu(),
        model.criterion.class_loss.probabilities(output.logits[-1, 0]).float().cpu(),
        previous,
        current,
    )


def pairs_of(
    rows: Tensor,
    matched: Tensor,
    found: dict[int, int],
    previous: ImageTargets,
    current: ImageTargets,
) -> list[Pair]:
    """The pairs of one image.

    Args:
        rows: (n,) int64, of the track queries, see :class:`.track_queries.TrackQuerySampler`.
        matched: (n,) bool, whether they had an object in the previous frame.
        found: object to query, of this frame's matching.
        previous, current: objects of the two frames.
    """
    assert previous.ids is not None
    assert current.ids is not None
    pairs = []
    for query, target in enumerate(rows.tolist()):
        if target >= 0:
            pairs.append(Pair("kept", query, target))
        elif target == NO_OBJECT:
            pairs.append(Pair("gone" if matched[query] else "false positive", query, None))
    asked = {pair.target for pair in pairs}
    known = torch.isin(current.ids, previous.ids).tolist()
    for target, was_there in enumerate(known):
        if target not in asked:
            kind: Kind = "false negative" if was_there else "new"
            pairs.append(Pair(kind, found.get(target), target))
    return pairs


def training_samples(
    cfg: CfgNode, name: str, classes: ClassMatch | None, count: int
) -> Iterator[dict]:
    """The first samples of a training on one dataset, always the same.

    Args:
        cfg: of the model.
        name: of the dataset.
        classes: of the model and the dataset; objects of classes that the model lacks are left out.

    Raises:
        UserError: the dataset has no labels.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASETS.TRAIN = (name,)
    cfg.SOLVER.IMS_PER_BATCH = 1
    cfg.SEED = cfg.DATALOADER.NUM_WORKERS = 0
    for [sample] in islice(build_train_loader(cfg), count):
        for frame in (sample, *sample["previous"]):
            if classes is None:
                continue
            of_model = torch.tensor([-1 if i is None else i for i in classes.to_model])
            for key in ("instances", "earlier"):
                if key in frame:
                    found = frame[key]
                    found.gt_classes = of_model[found.gt_classes]
                    frame[key] = found[found.gt_classes >= 0]
        yield sample


def _on_cpu(targets: ImageTargets) -> ImageTargets:
    assert targets.ids is not None
    return ImageTargets(targets.classes.cpu(), targets.boxes.cpu(), ids=targets.ids.cpu())

"""Object queries from the encoder's own proposals (Zhu et al., Deformable DETR, ICLR 2021, A.5).

Shapes: B: images, S: tokens of a frame, Q: object queries, K: classes, C: width.
"""

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torchvision.ops import batched_nms

from d2video.layers.level_geometry import LevelGeometry
from d2video.modeling.predictions import Predictions
from d2video.structures.boxes import box_cxcywh_to_xyxy
from d2video.utils.transfer import to_device


class TwoStage(nn.Module):
    """Object queries from the encoder's own proposals (Deformable DETR, appendix A.5).

    Args:
        width: C.
        num_queries: proposals taken.
        dense: proposals are taken that overlap little, and the queries bring what they show along.
    """

    def __init__(self, width: int, num_queries: int, dense: bool = False):
        super().__init__()
        self.enc_output = nn.Linear(width, width)
        self.enc_output_norm = nn.LayerNorm(width)
        self.pos_trans = nn.Linear(2 * width, 2 * width)
        self.pos_trans_norm = nn.LayerNorm(2 * width)
        self.content = nn.Linear(width, width) if dense else None
        self.num_queries = num_queries
        self.width = width
        for linear in (self.enc_output, self.pos_trans):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def propose(
        self, memory: Tensor, geometry: LevelGeometry, class_head: nn.Module, box_head: nn.Module
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Predictions]:
        """
        Args:
            memory: (B, S, C) of the current frame.
            class_head, box_head: for tokens, to logits (B, S, K) and box changes (B, S, 4).

        Returns:
            queries, their positions, and the tokens that they come from (B, Q, C); references (B, Q,
            4); all S proposals, as one layer, for their loss. Proposals in the padding or at the border
            have no finite logit of their box and are never better than others.
        """
        centres = geometry.centres.expand(len(memory), -1, -1)
        sides = [
            torch.full((height * width,), 0.05 * 2.0**level, device=memory.device)
            for level, (height, width) in enumerate(geometry.sizes)
        ]
        side = torch.cat(sides)[:, None].expand(len(memory), -1, 2)
        cells = torch.cat([centres, side], dim=-1)
        usable = ((cells > 0.01) & (cells < 0.99)).all(-1)
        if geometry.padding is not None:
            usable = usable & ~geometry.padding
        logits = torch.log(cells / (1 - cells)).masked_fill(~usable[..., None], torch.inf)
        tokens = self.enc_output_norm(self.enc_output(memory * usable[..., None]))
        classes = class_head(tokens)
        box_logits = box_head(tokens) + logits
        scores = classes[..., 0].detach()
        if self.content is not None:
            scores = lower_overlapping(scores, box_logits.detach().sigmoid())
        best = scores.topk(self.num_queries, dim=1).indices[..., None]
        reference = box_logits.gather(1, best.expand(-1, -1, 4)).detach().sigmoid()
        chosen = tokens.gather(1, best.expand(-1, -1, self.width))
        query_pos, queries = self.embed(reference)
        if self.content is not None:
            queries = queries + self.content(chosen)
        proposals = Predictions(classes[None], box_logits.sigmoid()[None])
        return queries, query_pos, chosen, reference, proposals

    def embed(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Positions and queries, both (B, Q, C), of boxes (B, Q, 4) in [0, 1]."""
        embedded = self.pos_trans_norm(self.pos_trans(self._sine(boxes)))
        query_pos, queries = embedded.chunk(2, dim=-1)
        return query_pos, queries

    def _sine(self, boxes: Tensor) -> Tensor:
        """(B, Q, 4) in [0, 1] to (B, Q, 2·C), C/2 channels a coordinate."""
        channels = self.width // 2
        index = torch.arange(channels, device=boxes.device)
        period = 10000.0 ** (2 * (index // 2) / channels)
        angle = boxes[..., None] * (2 * torch.pi) / period
        return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(-3)


def lower_overlapping(
    scores: Tensor, boxes: Tensor, threshold: float = 0.6, candidates: int = 100
) -> Tensor:
    """Scores of which those of boxes that overlap a better one come after all others.

    Args:
        scores: (B, S), logits.
        boxes: (B, S, 4) cxcywh.
        threshold: greatest IoU of two boxes that are both kept.
        candidates: the best so many of an image are looked at; the others come last.

    Returns:
        (B, S).
    """
    best, rows = scores.float().topk(min(candidates, scores.shape[1]), dim=1)
    corners = box_cxcywh_to_xyxy(boxes.float()).gather(1, rows[..., None].expand(-1, -1, 4))
    image = torch.arange(len(rows), device=rows.device)[:, None].expand_as(rows).flatten()
    kept = batched_nms(corners.flatten(0, 1), best.flatten(), image, threshold)
    low = torch.ones_like(scores, dtype=torch.bool)
    low[image[kept], rows.flatten()[kept]] = False
    return torch.where(low, scores - 1e4, scores)


class TrackLinks(nn.Module):
    """Which proposal shows the object of a track query: the one that looks like it and lies near.

    Args:
        width: C.
        update: share, above 0 to 1, of the newest sight in how a track query looks: below 1 one wrong link
            does not make it look like another object (Wang et al., JDE, ECCV 2020: 0.1).
    """

    def __init__(self, width: int, update: float = 1.0):
        super().__init__()
        self.update = update
        self.look = nn.Linear(width, width)
        self.sharpness = nn.Parameter(torch.tensor(10.0))
        self.nearness = nn.Parameter(torch.tensor(0.5))
        self.none = nn.Parameter(torch.tensor(0.0))

    def forward(self, seen: Tensor, boxes: Tensor, tokens: Tensor, found: Tensor) -> Tensor:
        """
        Args:
            seen: (B, n, C), the tokens of the proposals that the n track queries were linked to.
            boxes: (B, n, 4) cxcywh, where they are looked for.
            tokens, found: of the Q proposals, (B, Q, C) and (B, Q, 4).

        Returns:
            (B, n, Q + 1) logits, the last of "none of them".
        """
        before, now = (F.normalize(self.look(each), dim=-1) for each in (seen, tokens))
        away = found[:, None, :, :2] - boxes[:, :, None, :2]
        away = away / boxes[:, :, None, 2:].clamp(min=0.01)
        distance = (away.square().sum(-1) + 1e-6).sqrt().clamp(max=6)
        logits = self.sharpness * (before @ now.transpose(1, 2)) - self.nearness * distance
        return torch.cat([logits, self.none.expand_as(logits[..., :1])], dim=-1)


@torch.no_grad()
def one_to_one(logits: Tensor, padding: Tensor | None = None) -> Tensor:
    """The likeliest links of which no two lead to the same proposal.

    Args:
        logits: (B, n, Q + 1), the last of "none of them", which any number of track queries may have.
        padding: (B, n) bool, True for rows that are not queries; None: all are.

    Returns:
        (B, n) int64, 0 to Q; Q for rows that are not queries.
    """
    images, count, columns = logits.shape
    asked = torch.ones_like(logits[..., :1]) if padding is None else ~padding[..., None]
    likely, asked = (
        torch.cat([logits.float().log_softmax(-1), asked], dim=-1).cpu().split([columns, 1], dim=-1)
    )
    costs = -torch.cat([likely[..., :-1], likely[..., -1:].expand(-1, -1, count)], dim=-1)
    links = torch.full((images, count), columns - 1)
    for image, cost in enumerate(costs):
        queries = asked[image].nonzero()[:, 0]
        rows, found = linear_sum_assignment(cost[queries].numpy())
        links[image, queries[torch.from_numpy(rows)]] = torch.from_numpy(found)
    return to_device(links.clamp(max=columns - 1), logits.device)

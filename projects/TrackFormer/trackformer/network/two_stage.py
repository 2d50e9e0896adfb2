"""Object queries from the encoder's own proposals (Zhu et al., Deformable DETR, ICLR 2021, A.5).

Shapes: B: images, S: tokens of a frame, Q: object queries, K: classes, C: width.
"""

import torch
from torch import Tensor, nn

from d2video.layers.level_geometry import LevelGeometry
from d2video.modeling.predictions import Predictions


class TwoStage(nn.Module):
    """Object queries from the encoder's own proposals (Deformable DETR, appendix A.5).

    Args:
        width: C.
        num_queries: proposals taken.
    """

    def __init__(self, width: int, num_queries: int):
        super().__init__()
        self.enc_output = nn.Linear(width, width)
        self.enc_output_norm = nn.LayerNorm(width)
        self.pos_trans = nn.Linear(2 * width, 2 * width)
        self.pos_trans_norm = nn.LayerNorm(2 * width)
        self.num_queries = num_queries
        self.width = width
        for linear in (self.enc_output, self.pos_trans):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def propose(
        self, memory: Tensor, geometry: LevelGeometry, class_head: nn.Module, box_head: nn.Module
    ) -> tuple[Tensor, Tensor, Tensor, Predictions]:
        """
        Args:
            memory: (B, S, C) of the current frame.
            class_head, box_head: for tokens, to logits (B, S, K) and box changes (B, S, 4).

        Returns:
            queries and their positions (B, Q, C); references (B, Q, 4); all S proposals, as one
            layer, for their loss. Proposals in the padding or at the border have no finite logit of
            their box and are never better than others.
        """
        centres = geometry.centres.expand(len(memory), -1, -1)
        sides = [
            torch.full((height * width,), 0.05 * 2.0**level, device=memory.device)
            for level, (height, width) in enumerate(geometry.sizes)
        ]
        side = torch.cat(sides)[:, None].expand(len(memory), -1, 2)
        proposals = torch.cat([centres, side], dim=-1)
        usable = ((proposals > 0.01) & (proposals < 0.99)).all(-1)
        if geometry.padding is not None:
            usable = usable & ~geometry.padding
        logits = torch.log(proposals / (1 - proposals)).masked_fill(~usable[..., None], torch.inf)
        tokens = self.enc_output_norm(self.enc_output(memory * usable[..., None]))
        classes = class_head(tokens)
        box_logits = box_head(tokens) + logits
        best = classes[..., 0].topk(self.num_queries, dim=1).indices
        chosen = box_logits.gather(1, best[..., None].expand(-1, -1, 4)).detach()
        reference = chosen.sigmoid()
        embedded = self.pos_trans_norm(self.pos_trans(self._sine(reference)))
        query_pos, queries = embedded.chunk(2, dim=-1)
        return queries, query_pos, reference, Predictions(classes[None], box_logits.sigmoid()[None])

    def _sine(self, boxes: Tensor) -> Tensor:
        """(B, Q, 4) in [0, 1] to (B, Q, 2·C), C/2 channels a coordinate."""
        channels = self.width // 2
        index = torch.arange(channels, device=boxes.device)
        period = 10000.0 ** (2 * (index // 2) / channels)
        angle = boxes[..., None] * (2 * torch.pi) / period
        return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(-3)

"""What a network that predicts a set of objects returns.

Shapes: L: decoder layers, B: images or clips, Q: queries, K: classes, C: width, N: images of the batch,
those of a clip one after the other, q: queries of an image, H_f×W_f: the transformer's feature map.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass
class Encoded:
    """What the mask branch reads.

    Attributes:
        queries: (N, q, C), of the last decoder layer.
        memory: (N, H_f, W_f, C), the encoder's output.
        source: (N, C, H_f, W_f), the features that the queries' attention maps are joined to.
        padding: (N, H_f, W_f) bool, True = padding, or None where nothing is padded.
        laterals: coarse to fine, [(N, c_i, H_i, W_i)]; the masks have the size of the last.
        positions: (N, H_f, W_f, C), for an attention with positions.
    """

    queries: Tensor
    memory: Tensor
    source: Tensor
    padding: Tensor | None
    laterals: list[Tensor]
    positions: Tensor | None = None


@dataclass
class Predictions:
    """Classes and boxes of all queries, and a way to the masks of some.

    Attributes:
        logits: (L or 1, B, Q, K), or K + 1 with "no object" last.
        boxes: (L or 1, B, Q, 4) float32, cxcywh in [0, 1] of the unpadded image.
        masks: called with the image (P,) and the query (P,) of P queries of the last layer; returns
            their mask logits (P, h, w). Both may be on the CPU: nobody then waits for the device. None
            for a network without masks.
        encoded: what ``masks`` reads.
        coarse_masks: (L, B, Q, H_f, W_f) mask logits of all layers, in the training of a network with
            query masks.
        groups: those of further groups of queries, in training; the G of an image one after the other,
            as predictions of B·G images without masks but the coarse ones.
        embeddings: (B, Q, C), the last decoder layer's outputs, where the network hands them on.
    """

    logits: Tensor
    boxes: Tensor
    masks: Callable[[Tensor, Tensor], Tensor] | None = None
    encoded: Encoded | None = None
    coarse_masks: Tensor | None = None
    embeddings: Tensor | None = None
    groups: "Predictions | None" = None

    def of_image(self, image: int) -> "Predictions":
        """Classes and boxes of one image: logits (L, Q, K)."""
        return Predictions(self.logits[:, image], self.boxes[:, image])

    def last_on_host(self) -> "Predictions":
        """Logits, boxes and embeddings of the last layer in the host's memory, in one transfer."""
        found = [self.logits[-1], self.boxes[-1]]
        found += [] if self.embeddings is None else [self.embeddings]
        columns = torch.cat(found, dim=-1).cpu().split([each.shape[-1] for each in found], dim=-1)
        logits, boxes, *embeddings = (each.contiguous() for each in columns)
        return Predictions(
            logits[None], boxes[None], embeddings=embeddings[0] if embeddings else None
        )

    def in_groups(self, num_queries: int) -> "Predictions":
        """Those of the first Q queries, the others as :attr:`groups`."""
        if self.logits.shape[2] == num_queries:
            return self

        assert self.embeddings is not None

        def first(values: Tensor) -> Tensor:
            return values[:, :, :num_queries]

        def others(values: Tensor) -> Tensor:
            return values[:, :, num_queries:].unflatten(2, (-1, num_queries)).flatten(1, 2)

        masks = self.coarse_masks
        return replace(
            self,
            logits=first(self.logits),
            boxes=first(self.boxes),
            coarse_masks=None if masks is None else first(masks),
            embeddings=self.embeddings[:, :num_queries],
            groups=Predictions(
                others(self.logits),
                others(self.boxes),
                coarse_masks=None if masks is None else others(masks),
            ),
        )

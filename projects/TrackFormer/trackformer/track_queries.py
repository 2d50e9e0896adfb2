"""Track queries: what the decoder of one frame says of its objects, asked again in the next
(TrackFormer, sec. 3.2), and how training makes them (sec. 3.3).

Shapes: B: images, Q: queries of the previous frame, n: track queries (of the image with most), C: width,
M: matched queries of the batch, G: objects of a frame.
"""

from dataclasses import dataclass

from torch import Tensor

NO_OBJECT = -1  # a track query whose object is not in the frame, or that never had one
PADDED = -2  # no query at all: fills up the batch


@dataclass
class TrackQueries:
    """Queries that go before the object queries.

    Attributes:
        embeddings: (B, n, C), outputs of the previous frame's decoder.
        boxes: (B, n, 4), cxcywh divided by the image size.
        padding: (B, n) bool, True where there is no query; None if nothing is padded.
    """

    embeddings: Tensor
    boxes: Tensor
    padding: Tensor | None = None

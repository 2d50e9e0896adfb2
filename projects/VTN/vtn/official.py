"""What the official code does otherwise, where the config asks for it; to compare with it."""

from torch import Tensor


def modulus_rows(frame_index: Tensor, rows: int) -> Tensor:
    """Row of the position table for each frame: what comes after frame ``rows`` looks like the
    beginning again. Arguments and result as of :func:`.temporal_encoder.rescaled_rows`."""
    return frame_index % rows


def sum_logits(logits: Tensor) -> Tensor:
    """Scores (K,) of a video from the logits (V, K) of its views."""
    return logits.sum(0).softmax(-1)

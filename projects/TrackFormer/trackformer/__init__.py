"""TrackFormer: multi-object tracking with transformers (Meinhardt et al., CVPR 2022)."""

from . import converter  # noqa: F401  (registers the formats)
from .config import add_trackformer_config
from .frame_pair_mapper import FramePairMapper
from .trackformer import TrackFormer

__all__ = ["FramePairMapper", "TrackFormer", "add_trackformer_config"]

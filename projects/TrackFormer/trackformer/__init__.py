"""TrackFormer: multi-object tracking with transformers (Meinhardt et al., CVPR 2022)."""

from d2video.projects.trackformer import benchmark, converter, inspection, zoo  # noqa: F401  (register themselves)
from d2video.projects.trackformer.config import add_trackformer_config
from d2video.projects.trackformer.deformable_detr import DeformableDETR
from d2video.projects.trackformer.trackformer import TrackFormer
from d2video.projects.trackformer.training.frame_pair_mapper import FramePairMapper

__all__ = ["DeformableDETR", "FramePairMapper", "TrackFormer", "add_trackformer_config"]

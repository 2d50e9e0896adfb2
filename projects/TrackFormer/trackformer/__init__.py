"""TrackFormer: multi-object tracking with transformers (Meinhardt et al., CVPR 2022)."""

from d2video.utils.lazy_names import lazy_names

_MODULES = {
    "config": ["add_trackformer_config"],
    "deformable_detr": ["DeformableDETR"],
    "trackformer": ["TrackFormer"],
    "training.frame_pair_mapper": ["FramePairMapper"],
}

__all__ = ["DeformableDETR", "FramePairMapper", "TrackFormer", "add_trackformer_config"]
__getattr__ = lazy_names(__name__, _MODULES)

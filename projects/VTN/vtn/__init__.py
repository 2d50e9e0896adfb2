"""VTN: classification of whole videos (Neimark et al., Video Transformer Network, 2021)."""

from d2video.utils.lazy_names import lazy_names

_MODULES = {
    "config": ["add_vtn_config"],
    "features": ["FeatureMapper", "register_features"],
    "temporal_encoder": ["TemporalEncoder"],
    "vtn": ["VTN"],
}

__all__ = ["VTN", "FeatureMapper", "TemporalEncoder", "add_vtn_config", "register_features"]
__getattr__ = lazy_names(__name__, _MODULES)

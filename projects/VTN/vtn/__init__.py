"""VTN: classification of whole videos (Neimark et al., Video Transformer Network, 2021)."""

from d2video.projects.vtn import converter, inspection, timm_vit, zoo  # noqa: F401  (register themselves)
from d2video.projects.vtn.config import add_vtn_config
from d2video.projects.vtn.features import FeatureMapper, register_default_folders, register_features
from d2video.projects.vtn.temporal_encoder import TemporalEncoder
from d2video.projects.vtn.vtn import VTN

register_default_folders()

__all__ = ["VTN", "FeatureMapper", "TemporalEncoder", "add_vtn_config", "register_features"]

"""VTN: classification of whole videos (Neimark et al., Video Transformer Network, 2021)."""

from . import converter, timm_vit  # noqa: F401  (register the formats and the backbone)
from .config import add_vtn_config
from .features import FeatureMapper, register_default_folders, register_features
from .temporal_encoder import TemporalEncoder
from .vtn import VTN

register_default_folders()

__all__ = ["VTN", "FeatureMapper", "TemporalEncoder", "add_vtn_config", "register_features"]

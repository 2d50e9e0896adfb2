"""VTN: classification of whole videos (Neimark et al., Video Transformer Network, 2021)."""

from . import timm_vit  # noqa: F401  (registers the backbone)
from .config import add_vtn_config

__all__ = ["add_vtn_config"]

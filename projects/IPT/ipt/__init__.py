"""IPT: image restoration (Chen et al., Pre-Trained Image Processing Transformer, 2021)."""

from . import converter  # noqa: F401  (registers the format)
from .config import add_ipt_config
from .data_config import add_ipt_data_config
from .ipt import IPT
from .network import IPTNetwork
from .restoration_mapper import RestorationMapper
from .tasks import Task, parse_tasks

__all__ = [
    "IPT",
    "IPTNetwork",
    "RestorationMapper",
    "Task",
    "add_ipt_config",
    "add_ipt_data_config",
    "parse_tasks",
]

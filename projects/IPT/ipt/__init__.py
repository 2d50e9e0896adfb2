"""IPT: image restoration (Chen et al., Pre-Trained Image Processing Transformer, 2021)."""

from .config import add_ipt_config
from .network import IPTNetwork
from .tasks import Task, parse_tasks

__all__ = ["IPTNetwork", "Task", "add_ipt_config", "parse_tasks"]

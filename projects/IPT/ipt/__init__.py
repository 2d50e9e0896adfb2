"""IPT: image restoration (Chen et al., Pre-Trained Image Processing Transformer, 2021)."""

from d2video.projects.ipt import converter, inspection, zoo  # noqa: F401  (register themselves)
from d2video.projects.ipt.config import add_ipt_config
from d2video.projects.ipt.ipt import IPT
from d2video.projects.ipt.network import IPTNetwork
from d2video.projects.ipt.restoration_mapper import RestorationMapper
from d2video.projects.ipt.tasks import Task, parse_tasks

__all__ = [
    "IPT",
    "IPTNetwork",
    "RestorationMapper",
    "Task",
    "add_ipt_config",
    "parse_tasks",
]

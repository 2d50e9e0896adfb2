"""A config from a file and the command line, checked."""

import yaml
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY

from d2video.config.bases import check_bases
from d2video.config.defaults import get_cfg
from d2video.data.datasets.from_config import register_datasets
from d2video.utils.errors import UserError
from d2video.utils.registry import lookup


def load_cfg(config_file: str, overrides: list[str]) -> CfgNode:
    """The defaults, overlaid with a YAML file and with ``KEY VALUE …`` pairs; not frozen. The data
    sets of DATASETS.REGISTER are registered.

    Import the projects first (``d2video.projects.register_all()``), which adds their keys.

    Raises:
        UserError: a missing or broken file, an unknown key, a value of the wrong type, an odd
            number of overrides, an unknown meta-architecture, a negative count, a data set
            that cannot be registered.
    """
    cfg = get_cfg()
    try:
        if config_file:
            check_bases(config_file)
            # detectron2's default would run Python that a file names by "!!python/object/apply".
            cfg.merge_from_file(config_file, allow_unsafe=False)
        cfg.merge_from_list(overrides)
    except (
        *(AssertionError, AttributeError, KeyError, TypeError, ValueError),  # yacs, by the mistake
        *(OSError, yaml.YAMLError, RecursionError, MemoryError),  # the last: nested values
    ) as error:
        reason = " ".join(str(error).split()).strip("'\"")
        where = f"{config_file or 'defaults'} with '{' '.join(overrides)}'"
        raise UserError(
            f"config {where}: {reason or type(error).__name__}; see d2video/config/defaults.py and the "
            "project's config.py for the keys"
        ) from error
    lookup(META_ARCH_REGISTRY, cfg.MODEL.META_ARCHITECTURE, "MODEL.META_ARCHITECTURE")
    counts = {
        "TEST.VIDEO.PREFETCH": cfg.TEST.VIDEO.PREFETCH,
        "INPUT.MIN_SIZE_TEST": cfg.INPUT.MIN_SIZE_TEST,
        "INPUT.MAX_SIZE_TEST": cfg.INPUT.MAX_SIZE_TEST,
    }
    for key, value in counts.items():
        if value < 0:
            raise UserError(f"{key} is {value}: set 0 or more")
    register_datasets(cfg.DATASETS.REGISTER)
    return cfg

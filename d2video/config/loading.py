"""A config from a file and the command line, checked."""

from difflib import get_close_matches
from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY

from d2video.config.defaults import get_cfg
from d2video.config.files import flatten, overlay, parse_value, read_config
from d2video.config.renamed import current_keys
from d2video.data.datasets.from_config import register_datasets
from d2video.utils.errors import UserError
from d2video.utils.registry import lookup

_LEAF_TYPES = (tuple, list, str, int, float, bool, type(None))


def load_cfg(config_file: str, overrides: list[Any]) -> CfgNode:
    """The defaults, overlaid with a YAML file and with ``KEY VALUE …`` pairs; not frozen. The data
    sets of DATASETS.REGISTER are registered.

    Import the projects first (``d2video.projects.register_all()``), which adds their keys. The last
    file or command line that gives SOLVER.MAX_ITER or MAX_EPOCHS decides the schedule.

    Raises:
        UserError: a missing or broken file, an unknown key, a value of the wrong type, an odd
            number of overrides, a schedule in epochs and in iterations, an unknown
            meta-architecture, a negative count, a data set that cannot be registered.
    """
    if len(overrides) % 2:
        raise UserError(
            f"the config overrides '{' '.join(map(str, overrides))}' have odd length: give pairs of "
            "KEY VALUE"
        )
    pairs = dict(zip(overrides[::2], map(parse_value, overrides[1::2])))
    given = current_keys(pairs, "command line")
    values = overlay(read_config(config_file) if config_file else {}, given)
    cfg = get_cfg()
    for key, value in values.items():
        set_value(cfg, key, value, "command line" if key in given else f"config {config_file}")
    _check_schedule(cfg)
    lookup(META_ARCH_REGISTRY, cfg.MODEL.META_ARCHITECTURE, "MODEL.META_ARCHITECTURE")
    for key in ("MIN_SIZE_TEST", "MAX_SIZE_TEST"):
        if cfg.INPUT[key] < 0:
            raise UserError(f"INPUT.{key} is {cfg.INPUT[key]}: set 0 or more")
    register_datasets(cfg.DATASETS.REGISTER)
    return cfg


def set_value(cfg: CfgNode, key: str, value: Any, source: str) -> None:
    """Set a key as yacs does: the type stays; lists and tuples are converted.

    Raises:
        UserError: an unknown key, or a value of another type.
    """
    *nodes, name = key.split(".")
    node = cfg
    for part in nodes:
        node = node.get(part) if isinstance(node, CfgNode) else None
    if not isinstance(node, CfgNode) or name not in node:
        close = get_close_matches(key, dict(flatten(cfg)), n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "see d2video/config/defaults.py"
        raise UserError(f"{source}: there is no key {key}: {hint}")
    default = node[name]
    if isinstance(default, list | tuple) and isinstance(value, list | tuple):
        value = type(default)(value)
    fits = type(value) is type(default) or default is None
    if isinstance(default, CfgNode) or not fits or not isinstance(value, _LEAF_TYPES):
        wanted = "a node of keys" if isinstance(default, CfgNode) else type(default).__name__
        raise UserError(f"{source}: {key} is {value!r}, {type(value).__name__}: give {wanted}")
    if default and _are_numbers(default) and not _are_numbers(value):
        raise UserError(f"{source}: {key} is {value!r}: give numbers")
    node[name] = value


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(x, int | float) for x in value)


def _check_schedule(cfg: CfgNode) -> None:
    """Refuse steps of another unit than that of the schedule's length."""
    solver, default = cfg.SOLVER, get_cfg().SOLVER
    if solver.MAX_EPOCHS and (solver.MAX_ITER, solver.STEPS) != (default.MAX_ITER, default.STEPS):
        raise UserError(
            f"SOLVER.MAX_EPOCHS is {solver.MAX_EPOCHS}, and SOLVER.MAX_ITER {solver.MAX_ITER} with "
            f"STEPS {solver.STEPS} counts iterations: give MAX_ITER and STEPS, or MAX_EPOCHS and "
            "EPOCH_STEPS"
        )
    if solver.EPOCH_STEPS and not solver.MAX_EPOCHS:
        raise UserError(
            f"SOLVER.EPOCH_STEPS is {solver.EPOCH_STEPS}, and the schedule is of SOLVER.MAX_ITER "
            f"{solver.MAX_ITER} iterations: give STEPS, or MAX_EPOCHS as well"
        )

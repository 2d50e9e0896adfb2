"""A config from a file and the command line, checked."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY

from d2video.config.defaults import get_cfg
from d2video.config.device import best_device, tell_device
from d2video.config.files import find_config, flatten, overlay, read_config, read_overrides
from d2video.config.limits import check_limits
from d2video.data.datasets.by_path import register_names
from d2video.data.datasets.from_config import register_datasets
from d2video.utils.errors import UserError
from d2video.utils.registry import lookup
from d2video.video.image_io import use_exif_orientation

_LEAF_TYPES = (tuple, list, str, int, float, bool, type(None))


def load_cfg(config_file: str, overrides: Sequence[Any]) -> CfgNode:
    """The defaults, overlaid with a YAML file and with ``KEY VALUE`` or ``KEY=VALUE``; not frozen. The
    data sets of DATASETS.REGISTER are registered, and those that are named by a path. The file is a path or
    a name, see :func:`find_config`.

    The last file or command line that gives SOLVER.MAX_ITER or MAX_EPOCHS decides the schedule.

    Raises:
        UserError: a missing or broken file, an unknown key, a value of the wrong type, a key
            without a value, a schedule in epochs and in iterations, an unknown meta-architecture,
            a value below its least one, a data set that cannot be registered.
    """
    values = read_config(find_config(config_file)) if config_file else {}
    cfg = make_cfg(values, f"config {config_file}", overrides)
    register_datasets(cfg.DATASETS.REGISTER)
    register_paths(cfg)
    return cfg


def register_paths(cfg: CfgNode, keys: Iterable[str] = ("TRAIN", "TEST")) -> None:
    """Register what these keys of DATASETS name by its path; it gets a name and an entry in
    DATASETS.REGISTER. A data set of that name comes first.

    Raises:
        UserError: see :func:`~d2video.data.datasets.by_path.register_path`.
    """
    for key in keys:
        names, entries = register_names(cfg.DATASETS[key])
        cfg.DATASETS[key] = tuple(names)
        new = [entry for entry in entries if entry not in cfg.DATASETS.REGISTER]
        cfg.DATASETS.REGISTER = [*cfg.DATASETS.REGISTER, *new]


def asked_device(config_file: str, overrides: Sequence[Any]) -> str:
    """MODEL.DEVICE as the file and the overrides give it; "auto" if they do not."""
    values = read_config(find_config(config_file)) if config_file else {}
    return overlay(values, read_overrides(overrides)).get("MODEL.DEVICE", "auto")


def make_cfg(values: Mapping[str, Any], source: str, overrides: Sequence[Any]) -> CfgNode:
    """As :func:`load_cfg`, from values by full key; no data sets are registered.

    Args:
        source: where ``values`` are from, for messages.
    """
    given = read_overrides(overrides)
    cfg = get_cfg()
    values = overlay(values, given)
    for key, value in values.items():
        set_value(cfg, key, value, "command line" if key in given else source)
    if values.get("MODEL.DEVICE", "auto") == "auto":
        cfg.MODEL.DEVICE = best_device()
        tell_device(cfg.MODEL.DEVICE)
    _check_schedule(cfg)
    lookup(META_ARCH_REGISTRY, cfg.MODEL.META_ARCHITECTURE, "MODEL.META_ARCHITECTURE")
    check_limits(cfg)
    use_exif_orientation(cfg.INPUT.EXIF_ORIENTATION)
    return cfg


def set_value(cfg: CfgNode, key: str, value: Any, source: str) -> None:
    """Set a key as yacs does: the type stays; lists and tuples are converted.

    Raises:
        UserError: an unknown key, or a value of another type.
    """
    *nodes, name = key.split(".")
    node = cfg
    for end, part in enumerate(nodes, 1):
        node = node.get(part) if isinstance(node, CfgNode) else None
        if node is not None and not isinstance(node, CfgNode):
            raise UserError(
                f"{source}: there is no key {key}: {'.'.join(nodes[:end])} is a "
                f"{type(node).__name__}, without keys below it"
            )
    if not isinstance(node, CfgNode) or name not in node:
        close = _close_keys(key, ["_BASE_", *(known for known, _ in flatten(cfg))])
        hint = f"did you mean {' or '.join(close)}?" if close else "see d2video/config/defaults.py"
        raise UserError(f"{source}: there is no key {key}: {hint}")
    default = node[name]
    if isinstance(default, list | tuple) and isinstance(value, list | tuple):
        value = type(default)(value)
    fits = type(value) is type(default) or default is None
    if isinstance(default, CfgNode) or not fits or not isinstance(value, _LEAF_TYPES):
        wanted = "a node of keys" if isinstance(default, CfgNode) else type(default).__name__
        raise UserError(
            f"{source}: {key} is {value!r}, {type(value).__name__}: give {wanted}"
            f"{_example(default, value)}"
        )
    if default and _are_numbers(default) and not _are_numbers(value):
        raise UserError(f"{source}: {key} is {value!r}: give numbers")
    node[name] = value


def _close_keys(key: str, known: list[str]) -> list[str]:
    """Up to three keys that may be meant, the likeliest first, in whatever case the letters are."""
    node, _, name = key.upper().rpartition(".")

    def likeness(other: str) -> float:
        """Of the names at the end, or of the whole keys; of the same name in two nodes the nearer wins."""
        other_node, _, other_name = other.rpartition(".")
        end = SequenceMatcher(None, other_name, name).ratio()
        if node == other_node and name in other_name.split("_"):  # LR for BASE_LR
            end = max(end, 0.8)
        whole = SequenceMatcher(None, other, key.upper()).ratio()
        return max(end, whole) + 0.1 * whole

    scores = {other: likeness(other) for other in known}
    close = sorted((k for k in known if scores[k] >= 0.85), key=lambda k: -scores[k])
    return [k for k in close[:3] if scores[k] > scores[close[0]] - 0.02]


def _example(default: Any, value: Any) -> str:
    """How to write a list, where text stands for it: without a tuple's comma, or broken."""
    if not isinstance(default, list | tuple) or not isinstance(value, str):
        return ""
    if value.lstrip().startswith(("[", "(", "{")):
        return "; the text is neither a Python literal nor JSON: look at its quotes and brackets"
    return f""", such as '("{value}",)'"""


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

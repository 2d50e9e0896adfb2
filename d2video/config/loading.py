"""Load a config from a file and the command line, and check it."""

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
    """Load a config: the defaults, overridden by a YAML file and by the command line.

    Datasets of DATASETS.REGISTER, and datasets given by a path, are registered. The last file or command line
    that sets SOLVER.MAX_ITER or MAX_EPOCHS decides the schedule.

    Args:
        config_file: path or name of the file, see :func:`find_config`; "": none.
        overrides: ``KEY VALUE`` or ``KEY=VALUE`` of a command line.

    Returns:
        The config, not frozen.

    Raises:
        UserError: for a missing or broken file, an unknown key, a value of the wrong type, a key without a
            value, a schedule in both epochs and iterations, an unknown meta-architecture, a value below its
            minimum, or a dataset that cannot be registered.
    """
    values = read_config(find_config(config_file)) if config_file else {}
    cfg = make_cfg(values, f"config {config_file}", overrides)
    register_datasets(cfg.DATASETS.REGISTER)
    register_paths(cfg)
    return cfg


def register_paths(cfg: CfgNode, keys: Iterable[str] = ("TRAIN", "TEST")) -> None:
    """Register the datasets that these keys of DATASETS give by path.

    Each gets a name and an entry in DATASETS.REGISTER. A dataset registered under the same text takes
    precedence.

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
    """Like :func:`load_cfg`, but from values by full key and without registering datasets.

    Args:
        values: values by full key.
        source: origin of ``values``, for messages.
        overrides: as for :func:`load_cfg`.
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
    """Set a key as yacs does: the type must stay the same; lists and tuples are converted.

    Raises:
        UserError: if the key is unknown, or the value has another type.
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
    """Return up to three similar keys, the most similar first, regardless of case."""
    node, _, name = key.upper().rpartition(".")

    def likeness(other: str) -> float:
        """Similarity of the last names or of the whole keys; among equal names the nearer node wins."""
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
    """Return a hint how to write a list, if text was given: a tuple without its comma, or broken syntax."""
    if not isinstance(default, list | tuple) or not isinstance(value, str):
        return ""
    if value.lstrip().startswith(("[", "(", "{")):
        return "; the text is neither a Python literal nor JSON: look at its quotes and brackets"
    return f""", such as '("{value}",)'"""


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(x, int | float) for x in value)


def _check_schedule(cfg: CfgNode) -> None:
    """Check that the steps have the same unit as the length of the schedule."""
    solver, default = cfg.SOLVER, get_cfg().SOLVER
    if solver.MAX_EPOCHS and (solver.MAX_ITER, solver.STEPS) != (default.MAX_ITER, default.STEPS):
        raise UserError(
            f"SOLVER.MAX_EPOCHS is {solver.MAX_EPOCHS}, but SOLVER.MAX_ITER {solver.MAX_ITER} with "
            f"STEPS {solver.STEPS} counts iterations: give MAX_ITER and STEPS, or MAX_EPOCHS and "
            "EPOCH_STEPS"
        )
    if solver.EPOCH_STEPS and not solver.MAX_EPOCHS:
        raise UserError(
            f"SOLVER.EPOCH_STEPS is {solver.EPOCH_STEPS}, and the schedule is of SOLVER.MAX_ITER "
            f"{solver.MAX_ITER} iterations: give STEPS, or MAX_EPOCHS as well"
        )

"""The config stored as text in a checkpoint: written by a training, read back on any machine."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import yaml
from detectron2.config import CfgNode
from detectron2.utils.logger import log_first_n

from d2video.config.defaults import get_cfg
from d2video.config.files import flatten, override_pairs, parse_stored
from d2video.config.loading import make_cfg, register_paths
from d2video.config.renamed import current_keys
from d2video.data.datasets.from_config import absolute_entries, register_datasets
from d2video.utils.errors import UserError

# A command loads the config before it starts the processes that load it again.
warn_once = partial(log_first_n, logging.WARNING, key="message")

# Keys of the machine or the run, not of the model. They are neither written nor read, so that an untrusted
# file cannot set them.
_OF_THE_RUN = (
    *("MODEL.WEIGHTS", "MODEL.WEIGHTS_IGNORE", "MODEL.TIMM.PRETRAINED"),
    *("MODEL.DEVICE", "MODEL.COMPILE", "MODEL.ACTIVATION_CHECKPOINT"),
    *("OUTPUT_DIR", "CUDNN_BENCHMARK", "DATALOADER.NUM_WORKERS", "TEST.EXPECTED_RESULTS"),
    *("TEST.PRECISION", "TEST.VIDEO.BATCH"),
)
# Keys below these nodes are compared, except those of _OF_TRAINING. Only training reads these, so they do not
# change the predictions of a trained model.
_COMPARED = ("MODEL.", "INPUT.", "TEST.")
_OF_TRAINING = (
    *("INPUT.AUGMENTATIONS", "INPUT.CROP.", "INPUT.EPOCH_UNIT", "INPUT.RANDOM_FLIP"),
    *("INPUT.MIN_SIZE_TRAIN", "INPUT.MAX_SIZE_TRAIN", "INPUT.CLIP.SAMPLER", "INPUT.CLIP.RANGE"),
    *("TEST.EVAL_PERIOD", "TEST.BEST_", "TEST.EARLY_STOPPING", "TEST.PRECISE_BN."),
)
_MOST_LISTED = 8


def config_text(cfg: CfgNode) -> str:
    """Return YAML of all keys except those of the machine and the run.

    Relative paths of datasets become absolute.
    """

    def plain(node: CfgNode, prefix: str = "") -> dict[str, Any]:
        return {
            name: plain(value, f"{prefix}{name}.") if isinstance(value, CfgNode) else value
            for name, value in node.items()
            if not _is_of_the_run(prefix + name)
        }

    content = plain(cfg)
    content["DATASETS"]["REGISTER"] = absolute_entries(cfg.DATASETS.REGISTER)
    return yaml.dump(content, Dumper=_WithoutAliases, sort_keys=True)


def stored_values(text: str, source: str) -> dict[str, Any]:
    """Return the values of :func:`config_text` by full key, with the keys of the current version.

    Keys that this version does not have are left out, with a warning that lists them.

    Args:
        text: text of the config.
        source: what contains the text, for messages.

    Raises:
        UserError: if the text is not a config, or has a value that this version does not support.
    """
    content = parse_stored(text, source)
    if not isinstance(content, dict):
        raise UserError(f"{source} must hold keys and values: give --config-file")
    values = {key: value for key, value in flatten(content) if not _is_of_the_run(key)}
    values = current_keys(values, source)
    keys = [key for key, _ in flatten(get_cfg())]
    # Nodes are included: a node given a value is an error, not a difference between versions.
    known = {
        ".".join(parts[:n])
        for parts in (key.split(".") for key in keys)
        for n in range(1, len(parts) + 1)
    }
    if unknown := [key for key in values if key not in known]:
        what = "keys of another version or of a project that is not here are not used"
        warn_once(f"{source}: {what}: {_shown(unknown)}")
    return {key: value for key, value in values.items() if key in known}


def load_stored_cfg(text: str, source: str, overrides: Sequence[Any]) -> CfgNode:
    """Like :func:`~d2video.config.load_cfg`, but from the text in a checkpoint.

    A warning lists datasets of DATASETS.REGISTER that cannot be registered here; the model works without
    them.

    Raises:
        UserError: see :func:`stored_values` and :func:`~d2video.config.load_cfg`.
    """
    values = stored_values(text, source)
    cfg = make_cfg(values, source, overrides)
    entries = cfg.DATASETS.REGISTER
    if entries != values.get("DATASETS.REGISTER"):
        register_datasets(entries)
    else:
        for entry in entries:
            try:
                register_datasets([entry])
            except UserError as error:
                warn_once(f"{source}: a dataset of its training is not registered ({error})")
    # Names stored in the checkpoint are not paths on this machine.
    given = override_pairs(overrides)
    register_paths(cfg, [key for key in ("TRAIN", "TEST") if f"DATASETS.{key}" in given])
    return cfg


def tell_differences(
    values: Mapping[str, Any], source: str, cfg: CfgNode, overrides: Sequence[Any]
) -> None:
    """Warn if a config used instead of a checkpoint's own config changes the model.

    Args:
        values: values of the checkpoint's config by full key.
        source: description of the checkpoint, for the message.
        cfg: the config in use.
        overrides: keys and values changed on purpose, which are not reported.
    """
    given, now = override_pairs(overrides), dict(flatten(cfg))
    different = [
        f"{key} is {_short(now[key])} instead of {_short(value)}"
        for key, value in values.items()
        if decides_answers(key) and key not in given and _as_lists(value) != _as_lists(now[key])
    ]
    if different:
        what = f"the config given is used, which differs from that of {source}"
        warn_once(f"{what}: {_shown(different)}")


def decides_answers(key: str) -> bool:
    """Whether another value of a full key may change the predictions of a trained model."""
    is_compared = key.startswith(_COMPARED) and not key.startswith(_OF_TRAINING)
    return is_compared and (key == "TEST.PRECISION" or not _is_of_the_run(key))


def _is_of_the_run(key: str) -> bool:
    return any(
        f"{key}.".startswith(each) if each.endswith(".") else key == each for each in _OF_THE_RUN
    )


def _shown(items: Sequence[str]) -> str:
    more = len(items) - _MOST_LISTED
    return "; ".join(items[:_MOST_LISTED]) + (f"; and {more} more" if more > 0 else "")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:50]}…"


def _as_lists(value: Any) -> Any:
    """Turn tuples into lists, because YAML has no tuples."""
    return [_as_lists(each) for each in value] if isinstance(value, list | tuple) else value


class _WithoutAliases(yaml.SafeDumper):
    """A dumper that writes repeated lists in full, because :func:`parse_stored` rejects aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

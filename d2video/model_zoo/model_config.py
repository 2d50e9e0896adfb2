"""Find the config of a model given by name, file, folder or URL; most checkpoints contain it."""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.config import CfgNode
from detectron2.utils.logger import log_first_n

from d2video.checkpoint import config_in, load_checkpoint_file, metrics_in
from d2video.checkpoint.run_folder import model_in
from d2video.config import load_cfg
from d2video.config.files import config_names, flatten, override_pairs
from d2video.config.stored import load_stored_cfg, stored_values, tell_differences, warn_once
from d2video.fetching import fetch, is_address, shown
from d2video.model_zoo.entries import ENTRIES
from d2video.model_zoo.identification import identify
from d2video.model_zoo.zoo import find_entry, get_checkpoint_url, get_config
from d2video.projects import register_all
from d2video.utils.errors import UserError
from d2video.utils.near_names import did_you_mean

_say_once = partial(log_first_n, logging.INFO, key="message")
_WEIGHTS = "MODEL.WEIGHTS"
_OF_THE_HUB = re.compile(r"[\w-]+/[\w-]+")


class _Model(NamedTuple):
    """Weights for MODEL.WEIGHTS, and the name of their model in the zoo, or ""."""

    weights: str
    zoo_name: str = ""


def model_config(model: str = "", config_file: str = "", opts: Sequence[Any] = ()) -> CfgNode:
    """Return the config of a trained model, with MODEL.WEIGHTS set; not frozen.

    Args:
        model: a checkpoint, the output folder of a training (its ``model_best.pth``, else its last
            checkpoint), a URL, or a name in the zoo, such as "DETR/detr_panoptic_R50". An existing path takes
            precedence over a name. "": MODEL.WEIGHTS of ``opts``, else of the config file.
        config_file: config to use instead of the model's own; a warning lists the differences. "": the
            model's own config, from the checkpoint or the zoo, or recognised from the parameters.
        opts: config keys and values, which override both.

    Raises:
        UserError: if there is no such model, it cannot be read or downloaded, or no config is known for it;
            or as :func:`~d2video.config.load_cfg`.
    """
    register_all()
    weights = override_pairs(opts).get(_WEIGHTS)
    if model and weights:  # the config of one, the weights of the other
        cfg = model_config(model, config_file, [*opts, _WEIGHTS, ""])
        cfg.MODEL.WEIGHTS = known_weights(str(weights))
        return cfg
    model = model or str(weights or "")
    if not model:
        if not config_file:
            raise UserError(
                "no model is given: name a checkpoint, a folder of a run, a model of the zoo ('d2video "
                "models' lists them) or a config"
            )
        cfg = load_cfg(config_file, opts)
        cfg.MODEL.WEIGHTS = named = known_weights(cfg.MODEL.WEIGHTS)
        if os.path.isfile(named):
            _tell(load_checkpoint_file(named, peek=True), f"checkpoint {named}", cfg, opts)
        return cfg
    found = _find(model)
    opts = [*opts, _WEIGHTS, found.weights]
    if found.zoo_name:
        return _of_the_zoo(found.zoo_name, config_file, opts)
    file = fetch(found.weights.removesuffix("?matching_heuristics=True"))
    content = load_checkpoint_file(file, peek=True)
    name = shown(found.weights)
    source = f"checkpoint {name}"
    if config_file:
        cfg = load_cfg(config_file, opts)
        _tell(content, source, cfg, opts)
        return cfg
    text = config_in(content, source)
    if not text:
        config, own = identify(content, found.weights, file)
        return load_cfg(config, [*own, *opts])
    _say_once(f"{name}: the config in it is used{_scores(content, file)}")
    return load_stored_cfg(text, f"the config in {source}", opts)


def known_weights(weights: str) -> str:
    """Return MODEL.WEIGHTS in the form that the checkpointer accepts.

    A name in the zoo becomes a URL, and a folder becomes the checkpoint in it; others stay unchanged.
    """
    if is_address(weights) or os.path.isfile(weights) or not weights:
        return weights
    if os.path.isdir(weights) or _entry_name(weights):
        return _find(weights).weights
    return weights


def _find(model: str) -> _Model:
    if is_address(model):
        return _Model(model)
    if os.path.isdir(model):
        path = model_in(Path(model))
        _say_once(f"{model}: its {path.name} is used")
        return _Model(str(path))
    if model.endswith((".yaml", ".yml")) and os.path.isfile(model):
        raise UserError(
            f"model {model}: this is a config: give it as --config-file, and a checkpoint"
        )
    if os.path.isfile(model):
        return _Model(model)
    if name := _entry_name(model):
        return _Model(get_checkpoint_url(name), name)
    names = [entry.config for entry in ENTRIES if entry.config]
    on_hub = f" (on the Hugging Face Hub: hf://{model})" if _OF_THE_HUB.fullmatch(model) else ""
    hint = did_you_mean(model, names, f"'d2video models' lists the names{on_hub}")
    raise UserError(
        f"model {model}: no such file or folder, and neither an address nor a model of the zoo: {hint}"
    )


def _entry_name(model: str) -> str:
    """Return the model as the name of a config, with or without published weights; "" if there is none."""
    name = model.removeprefix("configs/").removesuffix(".yaml")
    return name if f"{name}.yaml" in config_names() else ""


def _of_the_zoo(name: str, config_file: str, opts: Sequence[Any]) -> CfgNode:
    entry = find_entry(name)
    assert entry is not None, name
    if not config_file:
        return load_cfg(name, [*entry.opts, *opts])
    cfg = load_cfg(config_file, opts)
    own = dict(flatten(get_config(name, trained=True)))
    tell_differences(own, f"model {name}", cfg, opts)
    return cfg


def _tell(content: Mapping[str, Any], source: str, cfg: CfgNode, opts: Sequence[Any]) -> None:
    """Warn about differences between a given config and that of a file, if it has one."""
    try:
        text = config_in(content, source)
        own = stored_values(text, f"the config in {source}") if text else {}
    except UserError as error:  # the file's config is not needed
        warn_once(f"{error}; the config given is used")
    else:
        tell_differences(own, source, cfg, opts)


def _scores(content: Mapping[str, Any], file: Path) -> str:
    """Describe the metric of the best evaluation, if the file contains it."""
    metrics = metrics_in(content, file)
    best, last = metrics.get("best", {}), metrics.get("last", {})
    if not best or best.get("iteration") != last.get("iteration"):
        return ""
    return f"; its {best['metric']} was {best['results'][best['metric']]}"

"""The functions of ``detectron2.model_zoo``, for d2video's configs and weights."""

from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from d2video.checkpoint import VideoCheckpointer
from d2video.config import find_config, load_cfg
from d2video.config.device import check_device
from d2video.config.files import config_names
from d2video.data.class_names import class_names
from d2video.fetching import fetch
from d2video.model_zoo.entries import ENTRIES, Entry
from d2video.projects import register_all
from d2video.structures import ClassHead, class_names_of, set_class_names
from d2video.utils.errors import UserError


def get_config_file(config_path: str) -> str:
    """Return the path of a config by its name, such as "DETR/detr_panoptic_R50", with or without ".yaml".

    Raises:
        UserError: if there is none of that name; the message lists similar names.
    """
    return find_config(config_path)


def find_entry(config_path: str) -> Entry | None:
    """Return the row of the table for a config; None if no weights are published for it.

    Raises:
        UserError: if there is no such config.
    """
    register_all()
    path = get_config_file(config_path)
    names = {place: name.removesuffix(".yaml") for name, place in config_names().items()}
    name = names.get(path, "")
    return next((entry for entry in ENTRIES if name and entry.config == name), None)


def get_checkpoint_url(config_path: str) -> str:
    """Return the URL of the weights published for a config.

    Use it as MODEL.WEIGHTS or with :func:`d2video.fetching.fetch`. For weights without a URL it is the file
    that the user has put into the cache.

    Raises:
        UserError: if there is no such config, no weights are published for it, or they have no URL and are
            not in the cache.
    """
    entry = find_entry(config_path)
    if entry is None:
        raise UserError(
            f"{config_path}: no weights are published for this config; train it, or choose one that "
            "'d2video models' lists with weights"
        )
    if entry.is_by_hand:
        return str(fetch(entry.addresses[0]))
    return entry.addresses[0]


def get_config(config_path: str, trained: bool = False) -> CfgNode:
    """Return a config by its name.

    Args:
        config_path: as for :func:`get_config_file`.
        trained: set MODEL.WEIGHTS to the published weights, and the keys with which they predict as in
            their authors' code.

    Raises:
        UserError: as :func:`get_checkpoint_url`.
    """
    return _load(config_path, trained)


def get(config_path: str, trained: bool = False, device: str | None = None) -> nn.Module:
    """Build a model by the name of its config, in training mode, as in detectron2.

    Args:
        config_path, trained: as for :func:`get_config`. If not ``trained``, the weights are those of the
            config's MODEL.WEIGHTS, or random.
        device: device to use instead of the config's MODEL.DEVICE.

    Raises:
        UserError: as :func:`get_config`, or if the device is missing, or the weights cannot be downloaded or
            do not fit.
    """
    cfg = _load(config_path, trained, *([] if device is None else ["MODEL.DEVICE", str(device)]))
    check_device(cfg.MODEL.DEVICE)
    model = build_model(cfg)
    weights = cfg.MODEL.WEIGHTS
    if f"{weights}.yaml" in config_names():  # by name, as in configs for fine-tuning
        weights = get_checkpoint_url(weights)
    ignore = () if trained else cfg.MODEL.WEIGHTS_IGNORE
    VideoCheckpointer(model, strict=trained, ignore=ignore).load(weights)
    if class_names_of(model) is None and ClassHead.of(model).parameters:
        set_class_names(model, class_names(*cfg.DATASETS.TRAIN))
    return model


def _load(config_path: str, trained: bool, *opts: Any) -> CfgNode:
    if trained:
        weights, entry = get_checkpoint_url(config_path), find_entry(config_path)
        assert entry is not None
        opts = (*entry.opts, "MODEL.WEIGHTS", weights, *opts)
    return load_cfg(get_config_file(config_path), opts)

"""A predictor by the name, path or address of a model."""

import os
from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY

from d2video.config.device import check_device
from d2video.config.files import override_pairs
from d2video.config.loading import set_value
from d2video.inference.predictor import Predictor
from d2video.model_zoo import model_config


def load(
    model: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str] | None = None,
    device: str | None = None,
    opts: Sequence[Any] = (),
) -> Predictor:
    """Load a model and its weights for prediction.

    ::

        model = d2video.load("DETR/detr_panoptic_R50")
        for frame in model("street.mp4"):
            frame.plot()
        model.predict("photo.jpg").save("annotated.jpg")

    Args:
        model: a name of the model zoo (``d2video models`` lists them), the path of a checkpoint or of
            a training's folder, or an address (``https://…``, ``hf://organization/name``). Files of
            other libraries are recognised and converted in memory.
        config: a config, by path or by name, for a checkpoint that does not hold its own.
        device: such as "cuda", "cuda:1" or "cpu"; by default the config's MODEL.DEVICE.
        opts: config keys and values, such as ``["MODEL.DETR.LINK", False]``; they win over all else.

    Raises:
        UserError: no such model, a file that cannot be fetched, read or recognised, a wrong key or
            value, or a device that is not there.
    """
    device_key = [] if device is None else ["MODEL.DEVICE", device]
    return Predictor(
        predictor_config(os.fspath(model), os.fspath(config or ""), [*device_key, *opts])
    )


def predictor_config(model: str, config_file: str, opts: Sequence[Any]) -> CfgNode:
    """The config of a model for prediction; its device is there.

    If a model of images has keys by which it follows objects through videos (``video_keys`` of the
    meta-architecture), they are set, unless they are in ``opts``. A given config is taken as it is.

    Args:
        model, config_file, opts: see :func:`d2video.model_zoo.model_config`.

    Raises:
        UserError: as :func:`load`.
    """
    cfg = model_config(model, config_file, opts)
    check_device(cfg.MODEL.DEVICE)
    if config_file:
        return cfg
    architecture = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)
    given = override_pairs(opts)
    for key, value in getattr(architecture, "video_keys", {}).items():
        if key not in given:
            set_value(cfg, key, value, architecture.__name__)
    return cfg

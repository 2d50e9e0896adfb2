"""From the command line to a checked config."""

import argparse
import logging
from pathlib import Path

import torch
import yaml
from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from d2video.config import get_cfg
from d2video.data.datasets.own import register_own
from d2video.engine.config_bases import check_bases
from d2video.engine.determinism import set_determinism
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
            f"config {where}: {reason or type(error).__name__}; see d2video/config.py and the "
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
    register_own(cfg.DATASETS.REGISTER)
    return cfg


def setup(args: argparse.Namespace) -> CfgNode:
    """Config of a training or evaluation run: loaded, checked, frozen, written to OUTPUT_DIR.

    Args:
        args: with ``config_file`` and ``opts`` of detectron2's ``default_argument_parser``.

    Raises:
        UserError: see :func:`load_cfg` and :func:`set_determinism`; or the device is not there, or
            OUTPUT_DIR is no folder that can be written.
    """
    cfg = load_cfg(args.config_file, args.opts)
    check_device(cfg.MODEL.DEVICE)
    cfg.freeze()
    try:
        Path(cfg.OUTPUT_DIR).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR}: cannot make this folder ({error.strerror}): choose another"
        ) from error
    # A log that a full disk refuses is no reason for a traceback a line.
    logging.raiseExceptions = False
    try:
        # detectron2's own function gives a voice to its own modules alone.
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="d2video")
        default_setup(cfg, args)
    except OSError as error:
        raise UserError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR}: cannot write there ({error.strerror}): choose another"
        ) from error
    set_determinism(cfg)
    return cfg


def check_device(device: str) -> None:
    """Raises UserError where ``device`` (MODEL.DEVICE) is not there."""
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise UserError(
            f"MODEL.DEVICE is '{device}', no device of torch: use cuda or cpu"
        ) from error
    if wanted.type != "cuda":
        return
    if not torch.cuda.is_available():
        raise UserError(
            f"MODEL.DEVICE is {device}, but torch finds no GPU here: add MODEL.DEVICE cpu"
        )
    if (wanted.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"MODEL.DEVICE is {device}, but this machine has {torch.cuda.device_count()} GPUs, "
            "counted from cuda:0"
        )


def check_num_processes(num_processes: int, device: str) -> None:
    """Raises UserError where ``--num-gpus`` exceeds the GPUs; on the CPU it counts processes."""
    check_device(device)
    if torch.device(device).type == "cuda" and num_processes > torch.cuda.device_count():
        raise UserError(
            f"--num-gpus is {num_processes}, but this machine has {torch.cuda.device_count()} GPUs: "
            "lower it, or add MODEL.DEVICE cpu to train in that many processes on the CPU"
        )

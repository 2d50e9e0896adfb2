"""From the command line to a checked config."""

import argparse
import logging
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from d2video.config.loading import load_cfg
from d2video.engine.determinism import set_determinism
from d2video.utils.errors import UserError


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

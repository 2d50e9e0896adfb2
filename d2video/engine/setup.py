"""From the command line to a checked config."""

import argparse
import logging
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.env import seed_all_rng

from d2video.config.device import check_device
from d2video.config.files import override_pairs
from d2video.config.loading import load_cfg
from d2video.engine.determinism import set_determinism
from d2video.engine.logs import set_up_logs
from d2video.model_zoo import known_weights, model_config
from d2video.utils.addresses import address_in
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)


def setup(args: argparse.Namespace) -> CfgNode:
    """Config of a training or evaluation run: loaded, checked, frozen, written to OUTPUT_DIR.

    Args:
        args: see :func:`run_config`.

    Raises:
        UserError: see :func:`run_config` and :func:`set_determinism`; or the device is not there, or
            OUTPUT_DIR cannot be written.
    """
    # With several processes d2video.cli.train.launch has already reported on the config.
    if comm.get_world_size() > 1:
        set_up_logs(rank=1)
    cfg = run_config(args)
    check_device(cfg.MODEL.DEVICE)
    if not cfg.OUTPUT_DIR or address_in(cfg.OUTPUT_DIR) is not None:
        raise UserError(f"OUTPUT_DIR is '{cfg.OUTPUT_DIR}': give a folder on this machine")
    cfg.freeze()
    output, rank = Path(cfg.OUTPUT_DIR), comm.get_rank()
    try:
        output.mkdir(parents=True, exist_ok=True)
        set_up_logs(cfg.OUTPUT_DIR, rank)
        if rank == 0:
            (output / "config.yaml").write_text(cfg.dump())
    except OSError as error:
        raise UserError(
            f"OUTPUT_DIR {output}: cannot write in this folder ({error.strerror}): choose another"
        ) from error
    logger.debug("Environment:\n%s", collect_env_info())
    logger.debug("Command line: %s", args)
    logger.debug("Config:\n%s", cfg.dump())
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + rank)
    if not args.eval_only:
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    set_determinism(cfg)
    return cfg


def run_config(args: argparse.Namespace) -> CfgNode:
    """The config of a training or evaluation: the one that is given, or else that of the model.

    MODEL.WEIGHTS may be whatever names a model. A training takes weights for another task as well, so that
    a config given for it is not compared with theirs.

    Args:
        args: with ``config_file``, ``opts`` and ``eval_only``, and ``model`` if the command takes one.

    Raises:
        UserError: see :func:`~d2video.config.load_cfg` and
            :func:`~d2video.model_zoo.model_config.model_config`.
    """
    model = getattr(args, "model", "")
    weights = "MODEL.WEIGHTS" in override_pairs(args.opts)
    if args.eval_only or model or (weights and not args.config_file):
        return model_config(model, args.config_file, args.opts)
    cfg = load_cfg(args.config_file, args.opts)
    cfg.MODEL.WEIGHTS = known_weights(cfg.MODEL.WEIGHTS)
    return cfg


def check_num_processes(num_processes: int, device: str) -> None:
    """Raises UserError where ``--num-gpus`` exceeds the GPUs; on the CPU it counts processes.

    Args:
        device: MODEL.DEVICE as it was given. "auto" stands for GPUs if there are several processes.
    """
    if device == "auto" and num_processes == 1:
        return
    if device != "auto":
        check_device(device)
    wants_gpus = device == "auto" or torch.device(device).type == "cuda"
    if wants_gpus and num_processes > torch.cuda.device_count():
        raise UserError(
            f"--num-gpus is {num_processes}, but this machine has {torch.cuda.device_count()} GPUs: "
            "lower it, or add MODEL.DEVICE cpu to train in that many processes on the CPU"
        )

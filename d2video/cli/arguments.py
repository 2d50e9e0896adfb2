"""What the programs' command lines share: the form of the help, a config and its device."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detectron2.config import CfgNode

# The keys and nodes at the top of a config: what is none of them is a file or a name.
CONFIG_NODES = (
    *("CUDNN_BENCHMARK", "DATALOADER", "DATASETS", "DETERMINISTIC", "FLOAT32_PRECISION", "GLOBAL"),
    *("INPUT", "MODEL", "OUTPUT_DIR", "SEED", "SOLVER", "TEST", "VERSION", "VIS_PERIOD"),
)

MODEL_HELP = (
    "checkpoint, folder of a training, address, or name of the model zoo, such as DETR/detr_panoptic_R50 "
    "('d2video models' lists them); MODEL.WEIGHTS among the config keys says the same"
)


def command_parser(description: str | None, command: str = "") -> argparse.ArgumentParser:
    """A parser whose help shows ``description`` with its line breaks.

    Args:
        command: of ``d2video``, for the usage; by default the name of the running program stands there.
    """
    return argparse.ArgumentParser(
        prog=f"d2video {command}" if command else None,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def is_config_key(word: str) -> bool:
    """Whether a word of a command line is the key of a config, or KEY=VALUE."""
    key = word.partition("=")[0]
    return key.isupper() and key.partition(".")[0] in CONFIG_NODES


def add_config(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add ``--config-file``, "" if it need not be given, and :func:`add_opts`."""
    own = "" if required else "; by default the model's own, which is in most checkpoints"
    parser.add_argument(
        "--config-file",
        required=required,
        default="",
        metavar="FILE",
        help=f"the model's config (YAML){own}",
    )
    add_opts(parser)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add ``--model`` and ``--config-file``, of which :func:`model_cfg` needs one, and
    :func:`add_opts`."""
    parser.add_argument("--model", default="", help=MODEL_HELP)
    add_config(parser, required=False)


def add_opts(parser: argparse.ArgumentParser) -> None:
    """Add config keys and values, with or without ``--opts`` before them, as ``args.opts``."""
    keys = "config keys to change, such as MODEL.WEIGHTS model.pth"
    after = "the same, behind an option that takes several values"
    for name, text in (("opts", keys), ("--opts", after)):
        parser.add_argument(name, nargs="*", action="extend", metavar="KEY VALUE", help=text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, a file for what is printed."""
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures to this file as well"
    )


def positive(text: str) -> int:
    """The argument type of a count."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def not_negative(text: str) -> int:
    """The argument type of a count that may be 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, not {value}")
    return value


def score(text: str) -> float:
    """The argument type of a score."""
    value = float(text)
    if not 0 <= value <= 1:  # nan is not, either
        raise argparse.ArgumentTypeError(f"must be from 0 to 1, not {value:g}")
    return value


def model_cfg(args: argparse.Namespace) -> "CfgNode":
    """The config of :func:`add_model`'s arguments; its device is there. Logging is set up.

    Raises:
        UserError: the device is missing, or see :func:`~d2video.model_zoo.model_config.model_config`.
    """
    from d2video.config.device import check_device
    from d2video.engine.logs import set_up_logs
    from d2video.model_zoo import model_config

    set_up_logs()
    cfg = model_config(args.model, args.config_file, args.opts)
    check_device(cfg.MODEL.DEVICE)
    return cfg

"""What the tools share that compare a config's model with other methods."""

import argparse
import json
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.utils.logger import setup_logger

from d2video.config import load_cfg
from d2video.engine import check_device
from d2video.projects import register_all
from d2video.utils.files import replace_on_success


def comparison_parser(description: str | None) -> argparse.ArgumentParser:
    """--config-file, --json and, as the last on the command line, --opts."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config keys to change",
    )
    return parser


def given_cfg(args: argparse.Namespace) -> CfgNode:
    """The config of a :func:`comparison_parser`'s arguments, whose device is there.

    Raises:
        UserError: it is not, or the config cannot be read.
    """
    register_all()
    setup_logger(name="d2video")
    cfg = load_cfg(args.config_file, args.opts)
    check_device(cfg.MODEL.DEVICE)
    return cfg


def write_json(path: Path | None, content: Any) -> None:
    """None: do not.

    Raises:
        UserError: the file cannot be written.
    """
    if path:
        with replace_on_success(path) as partial:
            partial.write_text(json.dumps(content, indent=2) + "\n")

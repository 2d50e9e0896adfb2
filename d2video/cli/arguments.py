"""Arguments and parsers that the commands share."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2video.utils.errors import UserError

if TYPE_CHECKING:
    from detectron2.config import CfgNode

# The top-level keys and nodes of a config. Any other word is a file or a name.
CONFIG_NODES = (
    *("CUDNN_BENCHMARK", "DATALOADER", "DATASETS", "DETERMINISTIC", "FLOAT32_PRECISION", "GLOBAL"),
    *("INPUT", "MODEL", "OUTPUT_DIR", "SEED", "SOLVER", "TEST", "VERSION", "VIS_PERIOD"),
)

NO_CONFIG = "no config is given: name one, such as VisTR/vistr_R50_ytvis2019"

MODEL_HELP = (
    "checkpoint, output folder of a training, URL, or name in the model zoo, such as "
    "DETR/detr_panoptic_R50 ('d2video models' lists them); the same as the config key MODEL.WEIGHTS"
)


class CommandParser(argparse.ArgumentParser):
    """A parser that accepts config keys among the options, and names before the first key.

    See :func:`add_opts` and :func:`add_names`.
    """

    names = ""  # the attribute that receives the names

    def parse_args(self, args: Any = None, namespace: Any = None) -> argparse.Namespace:  # type: ignore[override]
        if all(action.dest != "words" for action in self._actions):
            return super().parse_args(args, namespace)
        parsed = self.parse_intermixed_args(args, namespace)
        words = vars(parsed).pop("words")
        first_key = 0
        if self.names:
            keys = (i for i, word in enumerate(words) if is_config_key(word))
            first_key = next(keys, len(words))
            self._set_names(parsed, words[:first_key])
        parsed.opts = [*words[first_key:], *parsed.opts]
        return parsed

    def _set_names(self, parsed: argparse.Namespace, names: list[str]) -> None:
        if not hasattr(parsed, self.names):
            setattr(parsed, self.names, names)
            return
        given = [*names, *filter(None, [getattr(parsed, self.names)])]
        if len(given) > 1:
            what = self.names.removesuffix("_file")
            raise UserError(f"two {what}s are given, {given[0]} and {given[1]}: leave one out")
        setattr(parsed, self.names, given[0] if given else "")


def command_parser(description: str | None, command: str = "") -> CommandParser:
    """Return a parser whose help shows ``description`` with its line breaks.

    Args:
        description: text of the help.
        command: command of ``d2video`` shown in the usage; "": the name of the running program.
    """
    return CommandParser(
        prog=f"d2video {command}" if command else None,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def is_config_key(word: str) -> bool:
    """Whether a word of a command line is a config key or KEY=VALUE, and not a file."""
    key = word.partition("=")[0]
    is_key = key.isupper() and key.partition(".")[0] in CONFIG_NODES
    return is_key and not os.path.isfile(word)


def add_config(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add ``--config-file`` (default "" if it is not required) and the arguments of :func:`add_opts`."""
    own = "" if required else "; default: the config stored in the checkpoint, if there is one"
    parser.add_argument(
        "--config-file",
        required=required,
        default="",
        metavar="FILE",
        help=f"config of the model (YAML){own}",
    )
    add_opts(parser)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add ``--model`` and ``--config-file``, one of which :func:`model_cfg` needs, and config keys."""
    parser.add_argument("--model", default="", help=MODEL_HELP)
    add_config(parser, required=False)


def add_opts(parser: argparse.ArgumentParser) -> None:
    """Add config keys and values, with or without ``--opts`` before them, as ``args.opts``."""
    keys = "config keys to change, such as MODEL.WEIGHTS model.pth"
    parser.add_argument("words", nargs="*", metavar="KEY VALUE", help=keys)
    after = "config keys to change, if they follow an option that takes several values"
    parser.add_argument(
        "--opts", nargs="*", action="extend", default=[], metavar="KEY VALUE", help=after
    )


def add_names(parser: CommandParser, dest: str, metavar: str, help: str) -> None:
    """Accept names before the first config key of :func:`add_opts`.

    They become the list ``args.<dest>``. If ``--<dest>`` is an option, there is one name, its value.
    """
    parser.names = dest
    words = next(action for action in parser._actions if action.dest == "words")
    words.metavar = f"{metavar} or KEY VALUE"
    words.help = f"{help}; after it {words.help}"


def add_config_name(parser: CommandParser) -> None:
    """Accept the value of ``--config-file`` before the config keys; see :func:`add_names`."""
    add_names(parser, "config_file", "CONFIG", "file or name of a config, same as --config-file")


def move_keys(args: argparse.Namespace, dest: str) -> None:
    """Move config keys and values that follow the values of ``--<dest>`` to ``args.opts``."""
    words = getattr(args, dest)
    first_key = next((i for i, word in enumerate(words) if is_config_key(word)), len(words))
    setattr(args, dest, words[:first_key])
    args.opts = [*words[first_key:], *args.opts]


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, a file for the printed figures."""
    parser.add_argument(
        "--json", type=new_file, metavar="FILE", help="also write the figures to this JSON file"
    )


def new_file(text: str) -> Path:
    """Parse the path of an output file; reject it before the work starts if it cannot be written."""
    path = Path(text)
    folder = next(each for each in path.absolute().parents if each.exists())
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder: give a file name")
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise argparse.ArgumentTypeError(f"{text}: cannot write in {folder}: choose another folder")
    return path


def positive(text: str) -> int:
    """Parse a count, which must be at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def not_negative(text: str) -> int:
    """Parse a count that may be 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, not {value}")
    return value


def score(text: str) -> float:
    """Parse a score, which must be from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:  # also rejects nan
        raise argparse.ArgumentTypeError(f"must be from 0 to 1, not {value:g}")
    return value


def model_cfg(args: argparse.Namespace) -> "CfgNode":
    """Return the config from the arguments of :func:`add_model`, check its device and set up logging.

    Raises:
        UserError: if the device is missing, or as :func:`~d2video.model_zoo.model_config.model_config`.
    """
    from d2video.config.device import check_device
    from d2video.engine.logs import set_up_logs
    from d2video.model_zoo import model_config

    set_up_logs()
    cfg = model_config(args.model, args.config_file, args.opts)
    check_device(cfg.MODEL.DEVICE)
    return cfg

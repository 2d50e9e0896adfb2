"""What the programs' command lines share: the form of the help, a config and its device."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2video.utils.errors import UserError

if TYPE_CHECKING:
    from detectron2.config import CfgNode

# The keys and nodes at the top of a config: what is none of them is a file or a name.
CONFIG_NODES = (
    *("CUDNN_BENCHMARK", "DATALOADER", "DATASETS", "DETERMINISTIC", "FLOAT32_PRECISION", "GLOBAL"),
    *("INPUT", "MODEL", "OUTPUT_DIR", "SEED", "SOLVER", "TEST", "VERSION", "VIS_PERIOD"),
)

NO_CONFIG = "no config is given: name one, such as VisTR/vistr_R50_ytvis2019"

MODEL_HELP = (
    "checkpoint, folder of a training, address, or name of the model zoo, such as DETR/detr_panoptic_R50 "
    "('d2video models' lists them); MODEL.WEIGHTS among the config keys says the same"
)


class CommandParser(argparse.ArgumentParser):
    """Takes config keys and their values among the options, and before the first key names; see
    :func:`add_opts` and :func:`add_names`."""

    names = ""  # the attribute that gets them

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
    """A parser whose help shows ``description`` with its line breaks.

    Args:
        command: of ``d2video``, for the usage; by default the name of the running program stands there.
    """
    return CommandParser(
        prog=f"d2video {command}" if command else None,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def is_config_key(word: str) -> bool:
    """Whether a word of a command line is the key of a config, or KEY=VALUE, and not a file."""
    key = word.partition("=")[0]
    is_key = key.isupper() and key.partition(".")[0] in CONFIG_NODES
    return is_key and not os.path.isfile(word)


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
    parser.add_argument("words", nargs="*", metavar="KEY VALUE", help=keys)
    after = "the same, behind an option that takes several values"
    parser.add_argument(
        "--opts", nargs="*", action="extend", default=[], metavar="KEY VALUE", help=after
    )


def add_names(parser: CommandParser, dest: str, metavar: str, help: str) -> None:
    """Let names stand before the first of the keys that :func:`add_opts` has added: the list
    ``args.<dest>`` or, if ``--<dest>`` is an option, its value in another place."""
    parser.names = dest
    words = next(action for action in parser._actions if action.dest == "words")
    words.metavar = f"{metavar} or KEY VALUE"
    words.help = f"{help}; after it {words.help}"


def add_config_name(parser: CommandParser) -> None:
    """Let the value of ``--config-file`` stand before the keys, see :func:`add_names`."""
    add_names(parser, "config_file", "CONFIG", "file or name of a config, as with --config-file")


def move_keys(args: argparse.Namespace, dest: str) -> None:
    """Move config keys and values from behind the values of ``--<dest>`` to ``args.opts``."""
    words = getattr(args, dest)
    first_key = next((i for i, word in enumerate(words) if is_config_key(word)), len(words))
    setattr(args, dest, words[:first_key])
    args.opts = [*words[first_key:], *args.opts]


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, a file for what is printed."""
    parser.add_argument(
        "--json", type=new_file, metavar="FILE", help="write the figures to this file as well"
    )


def new_file(text: str) -> Path:
    """The argument type of a file that is written at the end of the work, which is refused before it."""
    path = Path(text)
    folder = next(each for each in path.absolute().parents if each.exists())
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder: give a file name")
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise argparse.ArgumentTypeError(f"{text}: cannot write in {folder}: choose another folder")
    return path


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

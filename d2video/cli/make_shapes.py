"""Generate a small dataset of shapes, in one of these formats:

- ytvis: videos in YouTube-VIS format
- mot, mots: videos in MOTChallenge format, with boxes (mot) or masks (mots)
- coco, panoptic: images in COCO format, with instances (coco) or also with panoptic labels (panoptic)
- motion: MP4 files in folders of classes that differ only by motion
- restoration: images rich in detail, without labels

Examples::

    d2video make-shapes datasets/shapes --split train=400 val=40
    d2video make-shapes datasets/shapes_coco --format panoptic --split train=2000 val=200
    d2video make-shapes datasets/shapes_mot --format mot --num-frames 20 40 --speed 0.1 1
    d2video make-shapes datasets/motion --format motion --split train=1600 val=320
    d2video make-shapes datasets/shapes_images --format restoration --split train=800 val=40

To see the options of a format, give --format and --help.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from inspect import cleandoc
from typing import Any

from d2video.cli.arguments import command_parser, not_negative
from d2video.synthetic import FORMATS
from d2video.utils.errors import UserError, exit_on_user_error


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments, including the options of the chosen format.

    Raises:
        UserError: if an option does not exist for the format.
    """
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--format", default="ytvis")
    name = first.parse_known_args(argv)[0].format
    parser = command_parser(__doc__, "make-shapes")
    parser.add_argument("root", help="folder to create")
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        default="ytvis",
        help="format of the dataset (default: ytvis)",
    )
    parser.add_argument(
        "--split",
        nargs="+",
        default=["train=400", "val=40"],
        metavar="NAME=COUNT",
        help="name of each split and its number of videos or images (default: train=400 val=40)",
    )
    parser.add_argument(
        "--seed", type=not_negative, default=0, help="random seed (default: %(default)s)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a dataset generated with other arguments"
    )
    if name in FORMATS:
        chosen = FORMATS[name]
        group = parser.add_argument_group(
            f"options of --format {name}", cleandoc(type(chosen.spec).__doc__ or "")
        )
        for option, default in chosen.choices().items():
            add_option(group, option, default)
    args, rest = parser.parse_known_args(argv)
    for word in rest:
        option = word.removeprefix("--").removeprefix("no-").replace("-", "_")
        formats = [each for each in FORMATS if option in FORMATS[each].choices()]
        only = f", only for {', '.join(formats)}" if formats else ""
        raise UserError(f"{word}: not for --format {name}{only}; leave out")
    return args


def add_option(parser: argparse._ArgumentGroup, name: str, default: Any) -> None:
    """Add an option whose type follows from its default; None: a pair of numbers, switched off."""
    form: dict[str, Any] = {"type": type(default)}
    if isinstance(default, bool):
        form = {"action": argparse.BooleanOptionalAction}
    elif default is None:
        form = {"nargs": 2, "type": float, "metavar": ("MIN", "MAX")}
    elif isinstance(default, tuple) and (not default or isinstance(default[0], str)):
        form = {"nargs": "+", "metavar": "NAME"}
    elif isinstance(default, tuple):
        form = {"nargs": 2, "type": type(default[0]), "metavar": ("MIN", "MAX")}
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
    flag = f"--{name.replace('_', '-')}"
    parser.add_argument(flag, default=default, help=f"(default: {shown})", **form)


def read_splits(values: list[str]) -> dict[str, int]:
    """Turn ``["train=400"]`` into ``{"train": 400}``; another form raises UserError."""
    splits: dict[str, int] = {}
    for value in values:
        name, _, count = value.partition("=")
        if not count.isdecimal() or name in splits:
            raise UserError(f"--split {value}: give each split once, as NAME=COUNT")
        splits[name] = int(count)
    return splits


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    chosen = FORMATS[args.format]
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in vars(args).items()}
    spec = replace(chosen.spec, **{k: v for k, v in given.items() if k in vars(chosen.spec)})
    options = {**chosen.fixed, **{key: given[key] for key in chosen.options}}
    written = chosen.write(
        args.root, read_splits(args.split), spec, args.seed, overwrite=args.overwrite, **options
    )
    print(f"{args.root}: {'written' if written else 'made with these arguments before, kept'}")

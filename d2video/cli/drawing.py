"""Command-line arguments for how predictions are drawn."""

import argparse
from dataclasses import fields

from d2video.cli.arguments import move_keys, not_negative, positive, score
from d2video.visualization.options import DEFAULT_TRAIL_LENGTH, DrawingOptions


def add_drawing(parser: argparse.ArgumentParser) -> None:
    """Add an argument for each of the :class:`DrawingOptions`."""
    group = parser.add_argument_group("drawing")
    group.add_argument(
        "--score-threshold",
        type=score,
        help="least score of the instances drawn; result files hold all (default: %(default)s)",
    )
    group.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="classes of the objects drawn and written to result files (default: all)",
    )
    group.add_argument(
        "--labels",
        action=argparse.BooleanOptionalAction,
        help="write class, score and track beside each object (default: they are written)",
    )
    group.add_argument(
        "--label-size",
        type=float,
        metavar="FACTOR",
        help="size of the labels, times the one that suits the picture (default: %(default)s)",
    )
    group.add_argument(
        "--masks",
        action=argparse.BooleanOptionalAction,
        help="draw masks (default: they are drawn); without them, boxes",
    )
    group.add_argument(
        "--draw-boxes",
        action=argparse.BooleanOptionalAction,
        help="draw boxes (default: of objects whose masks are not drawn)",
    )
    group.add_argument(
        "--trails",
        dest="trail_length",
        type=not_negative,
        metavar="N",
        help="draw each track's path through the last N frames, 0 for none "
        f"(default: {DEFAULT_TRAIL_LENGTH} for a model without masks, else none)",
    )
    group.add_argument(
        "--opacity", type=score, help="of the masks' fill, 0 to 1 (default: about a half)"
    )
    group.add_argument(
        "--line-width",
        type=positive,
        metavar="PIXELS",
        help="of outlines and boxes (default: one that suits the picture)",
    )
    group.add_argument(
        "--topk",
        type=positive,
        metavar="K",
        help="number of classes shown and written by a model that classifies (default: %(default)s)",
    )
    group.add_argument(
        "--scale", type=positive, help="enlarge the pictures so many times before drawing"
    )
    group.add_argument(
        "--side-by-side",
        action="store_true",
        help="show the input, enlarged by a bicubic, left of the restored image",
    )
    parser.set_defaults(**vars(DrawingOptions()))


def drawing_of(args: argparse.Namespace) -> DrawingOptions:
    """The options that were given; config keys behind the classes go to ``args.opts``.

    Raises:
        UserError: a number is out of its range.
    """
    if args.classes is not None:
        move_keys(args, "classes")
    return DrawingOptions(
        **{each.name: getattr(args, each.name) for each in fields(DrawingOptions)}
    )

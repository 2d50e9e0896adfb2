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
        help="minimum score of the instances drawn; result files contain all (default: %(default)s)",
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
        help="write class, score and track id beside each object (default: on)",
    )
    group.add_argument(
        "--label-size",
        type=float,
        metavar="FACTOR",
        help="factor by which to scale the labels' automatic size (default: %(default)s)",
    )
    group.add_argument(
        "--masks",
        action=argparse.BooleanOptionalAction,
        help="draw masks (default: on); with --no-masks, draw boxes",
    )
    group.add_argument(
        "--draw-boxes",
        action=argparse.BooleanOptionalAction,
        help="draw boxes (default: only for objects whose masks are not drawn)",
    )
    group.add_argument(
        "--trails",
        dest="trail_length",
        type=not_negative,
        metavar="N",
        help="draw each track's path over the last N frames; 0: no paths "
        f"(default: {DEFAULT_TRAIL_LENGTH} for a model without masks, else 0)",
    )
    group.add_argument(
        "--opacity", type=score, help="opacity of the masks' fill, 0 to 1 (default: about a half)"
    )
    group.add_argument(
        "--line-width",
        type=positive,
        metavar="PIXELS",
        help="width of outlines and boxes (default: chosen to suit the picture)",
    )
    group.add_argument(
        "--topk",
        type=positive,
        metavar="K",
        help="number of top classes that a classification model shows and writes (default: %(default)s)",
    )
    group.add_argument(
        "--scale", type=positive, help="factor by which to enlarge the pictures before drawing"
    )
    group.add_argument(
        "--side-by-side",
        action="store_true",
        help="show the input, enlarged bicubically, to the left of the restored image",
    )
    parser.set_defaults(**vars(DrawingOptions()))


def drawing_of(args: argparse.Namespace) -> DrawingOptions:
    """Return the given drawing options; config keys after the classes are moved to ``args.opts``.

    Raises:
        UserError: if a number is out of its range.
    """
    if args.classes is not None:
        move_keys(args, "classes")
    return DrawingOptions(
        **{each.name: getattr(args, each.name) for each in fields(DrawingOptions)}
    )

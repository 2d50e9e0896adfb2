"""Generate a small dataset of shapes: videos in YouTube-VIS or MOTChallenge format, COCO images, MP4
files whose classes differ by motion only, or images rich in detail for restoration.

Examples::

    tools/make_shapes_dataset.py datasets/shapes --split train=400 val=40
    tools/make_shapes_dataset.py datasets/shapes_coco --format panoptic --split train=2000 val=200
    tools/make_shapes_dataset.py datasets/shapes_mot --format mot --num-frames 20 40 --speed 0.1 1
    tools/make_shapes_dataset.py datasets/motion --format motion --split train=1600 val=320
    tools/make_shapes_dataset.py datasets/shapes_images --format restoration --split train=800 val=40
"""

import argparse
from collections.abc import Sequence
from typing import Any

from d2video.cli.arguments import command_parser
from d2video.synthetic import (
    MOTION_CLASSES,
    SHAPE_NAMES,
    STUFF_NAMES,
    MotionSpec,
    RestorationSpec,
    ShapesSpec,
    write_coco_shapes,
    write_mot_shapes,
    write_motion_videos,
    write_restoration_images,
    write_ytvis_shapes,
)
from d2video.utils.errors import UserError, exit_on_user_error

_COMMON = {"root", "format", "split", "seed", "overwrite"}
_IMAGES = {
    *("height", "width", "min_objects", "max_objects", "crossings", "classes", "stuff", "size"),
    *("camera_motion", "noise", "texture_contrast", "background_contrast"),
    *("class_textures", "class_colours", "jpeg_quality"),
}
_VIDEOS = _IMAGES | {"num_frames", "duration", "speed"}
# What may be chosen for each format.
OPTIONS = {
    "ytvis": _VIDEOS | {"uncompressed_rle"},
    "mot": _VIDEOS,
    "mots": _VIDEOS,
    "coco": _IMAGES,
    "panoptic": _IMAGES,
    "motion": {
        *("num_frames", "height", "width", "classes", "size", "noise"),
        *("texture_contrast", "background_contrast"),
    },
    "restoration": {"height", "width", "classes", "max_objects"},
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a specification are there only if they were given."""
    default = ShapesSpec()
    parser = command_parser(__doc__)
    parser.add_argument("root", help="folder to make")
    parser.add_argument(
        "--format",
        choices=tuple(OPTIONS),
        default="ytvis",
        help="videos with instances (ytvis), with the boxes of MOT17 (mot) or the masks of MOTS20 "
        "(mots); images with instances (coco), or with panoptic labels too; MP4 files in folders of "
        "classes (motion); images in detail without labels (restoration) (default: ytvis)",
    )
    parser.add_argument(
        "--split",
        nargs="+",
        default=["train=400", "val=40"],
        metavar="NAME=COUNT",
        help="name of each split and its number of videos or images (default: train=400 val=40)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a dataset made with other arguments"
    )
    parser.argument_default = argparse.SUPPRESS
    for name, kind, text in (
        ("height", int, "of a frame, in pixels"),
        ("width", int, "of a frame, in pixels"),
        ("duration", float, "part of a scene that a video shows, 0 to 1: less is slower"),
        ("min-objects", int, "of a video or image"),
        ("max-objects", int, "of a video or image"),
        (
            "crossings",
            float,
            "share of those with two objects or more in which two of a class meet",
        ),
        ("camera-motion", float, "0: a fixed camera"),
        ("noise", float, "in grey levels"),
        ("texture-contrast", float, "of the objects' textures, 0 (plain) to 1"),
        ("background-contrast", float, "of the backgrounds' textures, 0 (plain) to 1"),
        ("jpeg-quality", int, "1 to 100 (default: 95)"),
    ):
        parser.add_argument(f"--{name}", type=kind, help=text)
    for name, kind, text in (
        ("num-frames", int, "frames in a video (default: 8 12; for mot and mots 20 40)"),
        (
            "speed",
            float,
            "of the objects, in their diameters a frame, drawn once a video, in which they then "
            "roam (default: they go one way)",
        ),
        ("size", float, "diameter of the objects as a fraction of the frame's shorter side"),
    ):
        parser.add_argument(f"--{name}", type=kind, nargs=2, metavar=("MIN", "MAX"), help=text)
    for name, text in (
        (
            "classes",
            f"out of {', '.join(SHAPE_NAMES)} (default: {' '.join(default.classes)}); for motion "
            f"out of {', '.join(MOTION_CLASSES)} (default: all)",
        ),
        (
            "stuff",
            f"make backgrounds of these, out of {', '.join(STUFF_NAMES)} "
            "(default: all of them for panoptic, else one texture without a class)",
        ),
    ):
        parser.add_argument(f"--{name}", nargs="+", metavar="NAME", help=text)
    for name, text in (
        ("class-textures", "give every class a pattern of its own"),
        ("class-colours", "give every class hues of its own"),
        ("uncompressed-rle", "write masks as lists of run lengths"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=text)
    return parser.parse_args(argv)


def read_splits(values: list[str]) -> dict[str, int]:
    """Turn ``["train=400"]`` into ``{"train": 400}``; a wrong form is a UserError."""
    splits: dict[str, int] = {}
    for value in values:
        name, _, count = value.partition("=")
        if not count.isdecimal() or name in splits:
            raise UserError(f"--split {value}: give each split once, as NAME=COUNT")
        splits[name] = int(count)
    return splits


def read_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of the specification that were given; one that the format lacks is a UserError."""
    given = {key: value for key, value in vars(args).items() if key not in _COMMON}
    for key in given:
        if key not in OPTIONS[args.format]:
            formats = ", ".join(name for name, allowed in OPTIONS.items() if key in allowed)
            raise UserError(
                f"--{key.replace('_', '-')}: not for --format {args.format}, only for {formats}; "
                "leave out"
            )
    return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}


def write(args: argparse.Namespace) -> bool:
    """Make the dataset; False if it is there already."""
    given = read_options(args)
    where = (args.root, read_splits(args.split))
    if args.format == "motion":
        return write_motion_videos(*where, MotionSpec(**given), args.seed, overwrite=args.overwrite)
    if args.format == "restoration":
        for key in given.keys() & {"height", "width"}:
            given[key] = (given[key], given[key])
        if "max_objects" in given:
            given["objects"] = given.pop("max_objects")
        return write_restoration_images(
            *where, RestorationSpec(**given), args.seed, overwrite=args.overwrite
        )
    how = {"jpeg_quality": given.pop("jpeg_quality", 95), "overwrite": args.overwrite}
    compressed = not given.pop("uncompressed_rle", False)
    if args.format in ("mot", "mots"):
        spec = ShapesSpec(**{"num_frames": (20, 40)} | given)
        return write_mot_shapes(*where, spec, args.seed, masks=args.format == "mots", **how)
    if args.format == "panoptic":
        spec = ShapesSpec(**{"stuff": STUFF_NAMES} | given)
        return write_coco_shapes(*where, spec, args.seed, panoptic=True, **how)
    spec = ShapesSpec(**given)
    if args.format == "coco":
        return write_coco_shapes(*where, spec, args.seed, **how)
    return write_ytvis_shapes(*where, spec, args.seed, compressed=compressed, **how)


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    written = write(args)
    print(f"{args.root}: {'written' if written else 'made with these arguments before, kept'}")

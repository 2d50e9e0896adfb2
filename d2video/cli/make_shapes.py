"""Generate a small dataset of shapes: videos in YouTube-VIS or MOTChallenge format, COCO images, MP4
files whose classes are told by motion alone, or images rich in detail for restoration.

Examples:
    python tools/make_shapes_dataset.py datasets/shapes --split train=400 val=40
    python tools/make_shapes_dataset.py datasets/shapes_coco --format panoptic --split train=2000 val=200
    python tools/make_shapes_dataset.py datasets/shapes_mot --format mot --num-frames 20 40 --speed 0.1 1
    python tools/make_shapes_dataset.py datasets/motion --format motion --split train=1600 val=320
    python tools/make_shapes_dataset.py datasets/shapes_images --format restoration --split train=800 val=40
"""

import argparse
import sys
from typing import Any

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

# The formats of videos, and how many frames these have unless told.
VIDEO_FORMATS = {"ytvis": (8, 12), "mot": (20, 40), "mots": (20, 40)}


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    default = ShapesSpec()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", help="folder to make")
    parser.add_argument(
        "--format",
        choices=(*VIDEO_FORMATS, "coco", "panoptic", "motion", "restoration"),
        default="ytvis",
        help="videos with instances, with the boxes of MOT17 or the masks of MOTS20; images with "
        "instances, or with panoptic labels too; MP4 files in folders of classes, which take "
        "--split, --seed, --num-frames, --height, --width, --classes, --size, --noise, the two "
        "contrasts and --overwrite; images in detail without labels, which take --split, --seed, "
        "--height, --width, --classes, --max-objects and --overwrite (default: ytvis)",
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
        "--num-frames",
        type=int,
        nargs=2,
        metavar=("MIN", "MAX"),
        help="frames in a video, for videos only (default: 8 12; for mot and mots 20 40)",
    )
    parser.add_argument("--height", type=int, default=default.height, help="of a frame, in pixels")
    parser.add_argument("--width", type=int, default=default.width, help="of a frame, in pixels")
    parser.add_argument(
        "--duration",
        type=float,
        default=default.duration,
        help="part of a scene that a video shows, 0 to 1: less is slower; for videos only",
    )
    parser.add_argument(
        "--speed",
        type=float,
        nargs=2,
        metavar=("MIN", "MAX"),
        help="of the objects, in their diameters a frame, drawn once a video, in which they then "
        "roam (default: they go one way); for videos only",
    )
    parser.add_argument("--min-objects", type=int, default=default.min_objects)
    parser.add_argument("--max-objects", type=int, default=default.max_objects)
    parser.add_argument(
        "--crossings",
        type=float,
        default=default.crossings,
        metavar="SHARE",
        help="of the videos or images with two objects or more, in which two of one class meet "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        default=default.classes,
        metavar="NAME",
        help=f"out of {', '.join(SHAPE_NAMES)} (default: {' '.join(default.classes)}); for motion "
        f"out of {', '.join(MOTION_CLASSES)} (default: all)",
    )
    parser.add_argument(
        "--stuff",
        nargs="+",
        metavar="NAME",
        help=f"make backgrounds of these, out of {', '.join(STUFF_NAMES)} "
        "(default: all of them for panoptic, else one texture without a class)",
    )
    parser.add_argument(
        "--size",
        type=float,
        nargs=2,
        default=default.size,
        metavar=("MIN", "MAX"),
        help="diameter of the objects as a fraction of the frame's shorter side",
    )
    parser.add_argument(
        "--camera-motion", type=float, default=default.camera_motion, help="0: a fixed camera"
    )
    parser.add_argument("--noise", type=float, default=default.noise, help="in grey levels")
    parser.add_argument(
        "--texture-contrast",
        type=float,
        default=default.texture_contrast,
        help="of the objects' textures, 0 (plain) to 1",
    )
    parser.add_argument(
        "--background-contrast",
        type=float,
        default=default.background_contrast,
        help="of the backgrounds' textures, 0 (plain) to 1",
    )
    parser.add_argument(
        "--class-textures", action="store_true", help="give every class a pattern of its own"
    )
    parser.add_argument(
        "--class-colours", action="store_true", help="give every class hues of its own"
    )
    parser.add_argument("--jpeg-quality", type=int, default=95)
    parser.add_argument(
        "--uncompressed-rle",
        action="store_true",
        help="write masks as lists of run lengths; for ytvis only",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a dataset made with other arguments"
    )
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


def read_stuff(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The stuff classes that are asked for; all, if none are named and the format needs some."""
    if arguments.stuff is not None:
        return tuple(arguments.stuff)
    return STUFF_NAMES if arguments.format == "panoptic" else ()


def check_video_options(arguments: argparse.Namespace) -> None:
    """Refuse options that the format does not have (UserError)."""
    videos = {
        "--num-frames": arguments.num_frames is not None,
        "--duration": arguments.duration != ShapesSpec().duration,
        "--speed": arguments.speed is not None,
        "--uncompressed-rle": arguments.uncompressed_rle,
    }
    wrong, what = [option for option, is_given in videos.items() if is_given], "videos"
    if arguments.format in VIDEO_FORMATS:
        wrong, what = ["--uncompressed-rle"] * arguments.uncompressed_rle, "YouTube-VIS"
    if arguments.format != "ytvis" and wrong:
        raise UserError(
            f"{', '.join(wrong)}: only for {what}; leave out, or choose --format ytvis instead of "
            f"{arguments.format}"
        )


# What the options of videos of motion are called in MotionSpec; the others do not apply to them.
_MOTION_OPTIONS = {"num_frames", "height", "width", "classes", "size", "noise"} | {
    *("texture_contrast", "background_contrast")
}
# The same of images to be restored, in RestorationSpec.
_RESTORATION_OPTIONS = {"height", "width", "classes", "max_objects"}
_COMMON_OPTIONS = {"root", "format", "split", "seed", "overwrite"}


def read_motion(arguments: argparse.Namespace) -> MotionSpec:
    """The specification of videos of motion; options that they lack are a UserError."""
    return MotionSpec(**read_given(arguments, _MOTION_OPTIONS))


def read_restoration(arguments: argparse.Namespace) -> RestorationSpec:
    """The specification of images to be restored; options that they lack are a UserError."""
    given = read_given(arguments, _RESTORATION_OPTIONS)
    for key in given.keys() & {"height", "width"}:
        given[key] = (given[key], given[key])
    if "max_objects" in given:
        given["objects"] = given.pop("max_objects")
    return RestorationSpec(**given)


def read_given(arguments: argparse.Namespace, allowed: set[str]) -> dict[str, Any]:
    """Those of ``allowed`` that differ from their defaults; others that do are a UserError."""
    default = vars(parse_arguments([arguments.root]))
    given = {key: value for key, value in vars(arguments).items() if value != default[key]}
    wrong = given.keys() - allowed - _COMMON_OPTIONS
    if wrong:
        options = ", ".join("--" + key.replace("_", "-") for key in sorted(wrong))
        raise UserError(f"{options}: not for --format {arguments.format}; leave out")
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in given.items()
        if key in allowed
    }


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    """Make the dataset, or say that it is there already."""
    arguments = parse_arguments(argv)
    if arguments.format == "motion":
        written = write_motion_videos(
            arguments.root,
            read_splits(arguments.split),
            read_motion(arguments),
            arguments.seed,
            overwrite=arguments.overwrite,
        )
        report(arguments.root, written)
        return
    if arguments.format == "restoration":
        written = write_restoration_images(
            arguments.root,
            read_splits(arguments.split),
            read_restoration(arguments),
            arguments.seed,
            overwrite=arguments.overwrite,
        )
        report(arguments.root, written)
        return
    check_video_options(arguments)
    default_frames = VIDEO_FORMATS.get(arguments.format, ShapesSpec().num_frames)
    spec = ShapesSpec(
        num_frames=tuple(arguments.num_frames or default_frames),
        height=arguments.height,
        width=arguments.width,
        duration=arguments.duration,
        max_objects=arguments.max_objects,
        min_objects=arguments.min_objects,
        crossings=arguments.crossings,
        speed=arguments.speed and tuple(arguments.speed),
        classes=tuple(arguments.classes),
        size=tuple(arguments.size),
        camera_motion=arguments.camera_motion,
        noise=arguments.noise,
        texture_contrast=arguments.texture_contrast,
        background_contrast=arguments.background_contrast,
        class_textures=arguments.class_textures,
        class_colours=arguments.class_colours,
        stuff=read_stuff(arguments),
    )
    what = (arguments.root, read_splits(arguments.split), spec, arguments.seed)
    how = {"jpeg_quality": arguments.jpeg_quality, "overwrite": arguments.overwrite}
    if arguments.format == "ytvis":
        written = write_ytvis_shapes(*what, compressed=not arguments.uncompressed_rle, **how)
    elif arguments.format in VIDEO_FORMATS:
        written = write_mot_shapes(*what, masks=arguments.format == "mots", **how)
    else:
        written = write_coco_shapes(*what, panoptic=arguments.format == "panoptic", **how)
    report(arguments.root, written)


def report(root: str, written: bool) -> None:
    """Say what became of the folder."""
    print(f"{root}: {'written' if written else 'made with these arguments before, kept'}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Generate a small video instance segmentation dataset of moving shapes, in YouTube-VIS format.

Example: python tools/make_shapes_dataset.py datasets/shapes --split train=400 val=40
"""

import argparse
import sys

from d2video.data.shapes import SHAPE_NAMES, ShapesSpec, write_ytvis_shapes
from d2video.utils.errors import UserError, exit_on_user_error


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    default = ShapesSpec()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", help="folder to make")
    parser.add_argument(
        "--split",
        nargs="+",
        default=["train=400", "val=40"],
        metavar="NAME=VIDEOS",
        help="name of each split and its number of videos (default: train=400 val=40)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--num-frames",
        type=int,
        nargs=2,
        default=default.num_frames,
        metavar=("MIN", "MAX"),
        help="frames in a video (default: %(default)s)",
    )
    parser.add_argument("--height", type=int, default=default.height, help="of a frame, in pixels")
    parser.add_argument("--width", type=int, default=default.width, help="of a frame, in pixels")
    parser.add_argument(
        "--duration",
        type=float,
        default=default.duration,
        help="part of a scene that a video shows, 0 to 1: less is slower",
    )
    parser.add_argument("--max-objects", type=int, default=default.max_objects)
    parser.add_argument(
        "--classes",
        nargs="+",
        default=default.classes,
        metavar="NAME",
        help=f"out of {', '.join(SHAPE_NAMES)} (default: {' '.join(default.classes)})",
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
        "--uncompressed-rle", action="store_true", help="write masks as lists of run lengths"
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
            raise UserError(f"--split {value}: give each split once, as NAME=VIDEOS")
        splits[name] = int(count)
    return splits


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    """Make the dataset, or say that it is there already."""
    arguments = parse_arguments(argv)
    spec = ShapesSpec(
        num_frames=tuple(arguments.num_frames),
        height=arguments.height,
        width=arguments.width,
        duration=arguments.duration,
        max_objects=arguments.max_objects,
        classes=tuple(arguments.classes),
        size=tuple(arguments.size),
        camera_motion=arguments.camera_motion,
        noise=arguments.noise,
        texture_contrast=arguments.texture_contrast,
        background_contrast=arguments.background_contrast,
        class_textures=arguments.class_textures,
        class_colours=arguments.class_colours,
    )
    written = write_ytvis_shapes(
        arguments.root,
        read_splits(arguments.split),
        spec,
        arguments.seed,
        compressed=not arguments.uncompressed_rle,
        jpeg_quality=arguments.jpeg_quality,
        overwrite=arguments.overwrite,
    )
    print(f"{arguments.root}: {'written' if written else 'made with these arguments before, kept'}")


if __name__ == "__main__":
    main(sys.argv[1:])

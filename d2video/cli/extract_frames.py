"""Extract the frames of video files as images, into one folder for each video.

You can train on labels of a video file as they are. For models that read single frames in random order (DETR,
TrackFormer), images are faster: a frame in the middle of a video needs all frames since the last key frame::

    d2video extract-frames street.mp4 frames             # frames/street/000000.jpg, 000001.jpg, ...
    d2video extract-frames videos/*.mp4 frames --png     # lossless
    d2video extract-frames videos frames --numbers ::5   # each video in a folder, every fifth frame

A frame is named by its number in the video. Pass OUT as image_root of the labels. An interrupted run
continues where it stopped; finished videos are skipped.
"""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from d2video.cli.arguments import command_parser, positive
from d2video.utils.errors import BrokenFile, UserError, exit_on_user_error


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "extract-frames")
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="video file or folder of videos")
    parser.add_argument("output", metavar="OUT", help="output folder, with a folder for each video")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--quality", type=_quality, default=95, help="JPEG quality, 1 to 100 (default: %(default)s)"
    )
    how.add_argument("--png", action="store_true", help="write lossless PNG instead of JPEG")
    parser.add_argument(
        "--numbers",
        type=_numbers,
        default=slice(None),
        metavar="START:STOP:STEP",
        help="frames to write, counted from 0, as a Python slice (default: all)",
    )
    parser.add_argument(
        "--num-workers",
        type=positive,
        default=min(os.cpu_count() or 1, 8),
        help="threads that write images (default: %(default)s)",
    )
    return parser.parse_args(argv)


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from d2video.video.frame_extraction import Extraction, extract_frames

    numbers, quality = args.numbers, 0 if args.png else args.quality
    how = Extraction(numbers.start, numbers.stop, numbers.step, quality)
    folders = _folders(args.videos, Path(args.output))
    failed: list[str] = []
    for path, folder in folders.items():
        try:
            done = extract_frames(path, folder, how, args.num_workers)
        except BrokenFile as error:
            logging.getLogger(__name__).error("%s", error)
            failed.append(str(error))
            continue
        height, width = done.size
        kept = done.count - done.written
        there = f", of which {kept} were there" if kept else ""
        print(f"{folder}: {done.count} frames of {path}, {width}x{height} pixels{there}")
        if done.end:
            print(f"doubt: {path} is damaged: {done.end} after these frames")
    if failed:
        raise UserError(f"{len(failed)} of {len(folders)} videos are not written: {failed[0]}")


def _folders(sources: Sequence[str], output: Path) -> dict[Path, Path]:
    """Return the output folder of each video."""
    from d2video.video.image_io import visible_files
    from d2video.video.video_file import VIDEO_SUFFIXES

    folders: dict[Path, Path] = {}
    for source in map(Path, sources):
        videos = visible_files(source, VIDEO_SUFFIXES) if source.is_dir() else [source]
        if not videos:
            raise UserError(f"folder {source} holds no video: correct the path")
        folders |= {path: output / path.stem for path in videos}
    first: dict[Path, Path] = {}
    for path, folder in folders.items():
        if folder in first:
            raise UserError(
                f"{first[folder]} and {path} would both be written to {folder}: give each another OUT"
            )
        first[folder] = path
    return folders


def _quality(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100:
        raise argparse.ArgumentTypeError(f"must be from 1 to 100, not {value}")
    return value


def _numbers(text: str) -> slice:
    parts = [int(part) if part else None for part in text.split(":")]
    start, stop, step = [*parts, None, None, None][:3]
    if not 2 <= len(parts) <= 3 or (step is not None and step < 1):
        raise argparse.ArgumentTypeError(
            f"{text}: give START:STOP or START:STOP:STEP, STEP above 0"
        )
    return slice(start, stop, step)

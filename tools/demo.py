#!/usr/bin/env python
"""Run a model on a video or on images, and write them annotated, and the predictions as JSON.

A folder holds the frames of a video, all of one size, to a model that tracks; to an image model, such
as DETR, it holds images of any sizes, and each is written under its own name.

Examples:
    python tools/demo.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml \\
        --input street.mp4 --output street_tracks.mp4 --results street_tracks.json \\
        --opts MODEL.WEIGHTS model.pth
    python tools/demo.py --config-file configs/DETR/detr_panoptic_R50.yaml \\
        --input photo.jpg --output annotated.jpg --opts MODEL.WEIGHTS model.pth
    python tools/demo.py --config-file configs/DETR/detr_R50_500ep.yaml \\
        --input photos --output annotated --opts MODEL.WEIGHTS model.pth
"""

import argparse
import logging
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils.logger import setup_logger
from tqdm import tqdm

from d2video.engine.predictor import VideoPredictor
from d2video.engine.results_writer import VideoResultsWriter, open_image_results, open_results
from d2video.engine.setup import check_device, load_cfg
from d2video.engine.streaming import VideoFrame, tracks_instances
from d2video.projects import register_all
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.frame_writer import FrameWriter
from d2video.utils.image_io import IMAGE_SUFFIXES, list_images
from d2video.utils.image_writer import ImageFileWriter, ImageFolderWriter
from d2video.utils.panoptic_visualizer import draw_panoptic
from d2video.utils.video_reader import FrameSource, open_video
from d2video.utils.video_writer import VideoWriter
from d2video.utils.visualizer import draw_instances

# A video, or images that have nothing to do with each other.
Source = FrameSource | list[Path]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="the model's config (YAML)")
    parser.add_argument("--input", required=True, help="video, image, or folder of images")
    parser.add_argument(
        "--output",
        help="annotated video (.mp4), image (.jpg, .png), or a new folder for the frames or images",
    )
    parser.add_argument("--results", help="JSON file for the predictions, masks as COCO RLE")
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=0.5,
        help="least score of the instances drawn; --results holds all (default: %(default)s)",
    )
    parser.add_argument(
        "--fps", type=float, help="frame rate; by default the video's own, 25 for a folder"
    )
    parser.add_argument("--draw-boxes", action="store_true", help="draw boxes besides the masks")
    parser.add_argument(
        "--stop-at-damage",
        action="store_true",
        help="keep what lies before the damage in a broken video, instead of failing",
    )
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config keys to change, such as MODEL.WEIGHTS model.pth MODEL.DEVICE cpu",
    )
    args = parser.parse_args(argv)
    if args.output is None and args.results is None:
        parser.error("nothing to do: give --output, --results or both")
    return args


def open_source(args: argparse.Namespace, cfg: CfgNode) -> Source:
    """A video, or the paths of images that have nothing to do with each other.

    A folder is the latter to an image model, a single image to all models, unless the output shall
    be a video.
    """
    path = Path(args.input)
    if args.output is not None and path.exists() and path.resolve() == Path(args.output).resolve():
        raise UserError(f"--output is the input {path} itself; give another name")
    is_image = path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES
    is_image |= path.is_dir() and not tracks_instances(
        META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)
    )
    if is_image and Path(args.output or "").suffix.lower() != ".mp4":
        return list_images(path) if path.is_dir() else [path]
    return open_video(
        path,
        fps=args.fps,
        prefetch=cfg.TEST.VIDEO.PREFETCH,
        on_broken="stop" if args.stop_at_damage else "raise",
    )


def open_output(path: str, source: Source) -> FrameWriter:
    """A folder of images for a name without a suffix, else an image or a video."""
    is_folder = Path(path).is_dir() or not Path(path).suffix
    if isinstance(source, FrameSource):
        return ImageFolderWriter(path) if is_folder else VideoWriter(path, source.fps)
    if is_folder:
        return ImageFolderWriter(path, names=[image.name for image in source])
    if len(source) > 1:
        raise UserError(
            f"cannot write {len(source)} images to {path}; give a new folder, a name without a dot"
        )
    return ImageFileWriter(path)


def open_json(
    path: str, name: str, source: Source, class_names: list[str] | None
) -> AbstractContextManager[VideoResultsWriter]:
    """The results file of a video or of images."""
    if isinstance(source, FrameSource):
        return open_results(
            path, video=source.name, size=source.size, fps=source.fps, categories=class_names
        )
    return open_image_results(path, images=name, categories=class_names)


def draw(frame: VideoFrame, class_names: list[str] | None, args: argparse.Namespace) -> np.ndarray:
    if frame.panoptic_seg is not None:
        return draw_panoptic(frame.image, frame.panoptic_seg, class_names)
    return draw_instances(
        frame.image,
        frame.instances,
        class_names,
        score_threshold=args.score_threshold,
        draw_boxes=args.draw_boxes,
    )


def run(args: argparse.Namespace, predictor: VideoPredictor, source: Source) -> int:
    """Predict, draw and write; returns the number of frames or images."""
    if isinstance(source, FrameSource):
        frames, total, unit = predictor(source), source.estimated_length, "frame"
    else:
        frames, total, unit = predictor.predict_images(source), len(source), "image"
    names = predictor.class_names
    count = 0
    with ExitStack() as stack:
        output = results = None
        if args.output is not None:
            output = stack.enter_context(open_output(args.output, source))
        if args.results is not None:
            results = stack.enter_context(open_json(args.results, args.input, source, names))
        for frame in stack.enter_context(tqdm(frames, total=total, unit=unit)):
            if results is not None:
                results.write(frame)
            if output is not None:
                output.write(draw(frame, names, args))
            count += 1
    return count


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    register_all()
    setup_logger(name="d2video")
    setup_logger(name="fvcore")
    cfg = load_cfg(args.config_file, args.opts)
    check_device(cfg.MODEL.DEVICE)
    cfg.freeze()
    # The source first: a wrong path should not cost the building of a model.
    source = open_source(args, cfg)
    count = run(args, VideoPredictor(cfg), source)
    written = " and ".join(path for path in (args.output, args.results) if path)
    logger = logging.getLogger("d2video")
    logger.info("%d frames or images of %s written to %s", count, args.input, written)


if __name__ == "__main__":
    main()

#!/usr/bin/env python
"""Run a video model on a video and write the annotated video, and the predictions as JSON.

Example:
    python tools/demo.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml \\
        --input street.mp4 --output street_tracks.mp4 --results street_tracks.json \\
        --opts MODEL.WEIGHTS model.pth
"""

import argparse
import logging
from contextlib import ExitStack
from pathlib import Path

from detectron2.utils.logger import setup_logger
from tqdm import tqdm

from d2video.engine.predictor import VideoPredictor
from d2video.engine.results_writer import open_results
from d2video.engine.setup import check_device, load_cfg
from d2video.projects import register_all
from d2video.utils.errors import exit_on_user_error
from d2video.utils.video_reader import FrameSource, open_video
from d2video.utils.video_writer import FrameWriter, ImageFolderWriter, VideoWriter
from d2video.utils.visualizer import draw_instances


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="the model's config (YAML)")
    parser.add_argument("--input", required=True, help="video file, or folder of images")
    parser.add_argument(
        "--output", help="annotated video (.mp4), or a new folder for the annotated frames"
    )
    parser.add_argument("--results", help="JSON file for the predictions, masks as COCO RLE")
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=0.5,
        help="least score of what is drawn; --results holds everything (default: %(default)s)",
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


def open_output(path: str, fps: float) -> FrameWriter:
    """A video for a name in .mp4, a folder of images for a name without a suffix."""
    is_folder = Path(path).is_dir() or not Path(path).suffix
    return ImageFolderWriter(path) if is_folder else VideoWriter(path, fps)


def run(args: argparse.Namespace, predictor: VideoPredictor, video: FrameSource) -> int:
    """Predict, draw and write; returns the number of frames."""
    count = 0
    with ExitStack() as stack:
        output = None
        if args.output is not None:
            output = stack.enter_context(open_output(args.output, video.fps))
        results = None
        if args.results is not None:
            results = stack.enter_context(
                open_results(
                    args.results,
                    video=video.name,
                    size=video.size,
                    fps=video.fps,
                    categories=predictor.class_names,
                )
            )
        progress = tqdm(predictor(video), total=video.estimated_length, unit="frame")
        for frame in stack.enter_context(progress):
            if results is not None:
                results.write(frame)
            if output is not None:
                output.write(
                    draw_instances(
                        frame.image,
                        frame.instances,
                        predictor.class_names,
                        score_threshold=args.score_threshold,
                        draw_boxes=args.draw_boxes,
                    )
                )
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
    # The video first: a wrong path should not cost the building of a model.
    video = open_video(
        args.input,
        fps=args.fps,
        prefetch=cfg.TEST.VIDEO.PREFETCH,
        on_broken="stop" if args.stop_at_damage else "raise",
    )
    count = run(args, VideoPredictor(cfg), video)
    written = " and ".join(path for path in (args.output, args.results) if path)
    logging.getLogger("d2video").info("%d frames of %s written to %s", count, args.input, written)


if __name__ == "__main__":
    main()

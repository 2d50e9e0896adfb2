"""Run a model on a video or on images, and write them annotated, and the predictions as JSON or MOT.

A folder holds the frames of a video, all of one size, to a model that tracks; to an image model, such
as DETR, it holds images of any sizes, and each is written under its own name. A camera runs until
Ctrl-C, which keeps what was written; frames that come while the model is busy are skipped. Under the
pictures of a model that classifies videos stand the best classes, and their scores so far. Of a model
that restores images the restored ones are written, in their own size.

Examples:
    python tools/demo.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml \\
        --input street.mp4 --output street_tracks.mp4 --results street_tracks.json \\
        --opts MODEL.WEIGHTS model.pth
    python tools/demo.py --config-file configs/DETR/detr_panoptic_R50.yaml \\
        --input photo.jpg --output annotated.jpg --opts MODEL.WEIGHTS model.pth
    python tools/demo.py --config-file configs/DETR/detr_R50_500ep.yaml \\
        --input photos --output annotated --opts MODEL.WEIGHTS model.pth
    python tools/demo.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml \\
        --input camera:0 --output live.mp4 --opts MODEL.WEIGHTS model.pth
    python tools/demo.py --config-file configs/IPT/ipt_finetune_sr_x2.yaml \\
        --input small.png --output large.png --side-by-side --opts MODEL.WEIGHTS model.pth
"""

import argparse
import logging
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from itertools import count
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils.logger import setup_logger
from tqdm import tqdm

from d2video.config import load_cfg
from d2video.engine.setup import check_device
from d2video.formats.mot_results import open_mot_results, open_mots_results
from d2video.inference.predictor import VideoPredictor
from d2video.inference.results_writer import VideoResultsWriter, open_image_results, open_results
from d2video.inference.streaming import classifies_video, restores_images, tracks_instances
from d2video.projects import register_all
from d2video.structures.class_scores import DEFAULT_TOPK, top_classes
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.video.frame_source import FrameSource
from d2video.video.frame_writer import FrameWriter
from d2video.video.image_io import IMAGE_SUFFIXES, list_images
from d2video.video.image_writer import ImageFileWriter, ImageFolderWriter, lossless_names
from d2video.video.paced_writer import PacedWriter, stop_on_interrupt
from d2video.video.video_reader import open_video
from d2video.video.video_writer import VideoWriter
from d2video.visualization.drawing import label_of_class
from d2video.visualization.frame_drawer import DEFAULT_TRAIL_LENGTH, FrameDrawer

# A video, or images that have nothing to do with each other.
Source = FrameSource | list[Path]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="the model's config (YAML)")
    parser.add_argument(
        "--input",
        required=True,
        help="video, image, folder of images, or camera:0 for the first camera",
    )
    parser.add_argument(
        "--output",
        help="annotated video (.mp4), image (.jpg, .png), or a new folder for the frames or images; "
        "restored ones are PNG files there, a.png for a.jpg",
    )
    parser.add_argument("--results", help="JSON file for the predictions, masks as COCO RLE")
    parser.add_argument(
        "--mot-results", metavar="FILE", help="text file for the boxes, in MOTChallenge's format"
    )
    parser.add_argument(
        "--mots-results", metavar="FILE", help="text file for the masks, in the MOTS format"
    )
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=0.5,
        help="least score of the instances drawn; result files hold all (default: %(default)s)",
    )
    parser.add_argument(
        "--fps", type=float, help="frame rate; by default the video's own, 25 for a folder"
    )
    parser.add_argument("--draw-boxes", action="store_true", help="draw boxes besides the masks")
    parser.add_argument(
        "--trails",
        type=int,
        metavar="N",
        help="draw each track's way through the last N frames, 0 for none "
        f"(default: {DEFAULT_TRAIL_LENGTH} for a model without masks, else none)",
    )
    parser.add_argument(
        "--topk",
        type=int,
        default=DEFAULT_TOPK,
        metavar="K",
        help="number of classes shown and written by a model that classifies (default: %(default)s)",
    )
    parser.add_argument(
        "--scale", type=int, default=1, help="enlarge the pictures so many times before drawing"
    )
    parser.add_argument(
        "--side-by-side",
        action="store_true",
        help="show the input, enlarged by a bicubic, left of the restored image",
    )
    parser.add_argument(
        "--stop-at-damage",
        action="store_true",
        help="keep what lies before the damage in a broken video or folder, before a broken image of "
        "several, or before a camera fails, instead of failing",
    )
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config keys to change, such as MODEL.WEIGHTS model.pth MODEL.DEVICE cpu",
    )
    args = parser.parse_args(argv)
    if not outputs(args):
        parser.error("nothing to do: give --output, --results, --mot-results or --mots-results")
    if args.trails is not None and args.trails < 0:
        parser.error("--trails must be at least 0")
    if args.scale < 1:
        parser.error("--scale must be at least 1")
    if args.topk < 1:
        parser.error("--topk must be at least 1")
    return args


def outputs(args: argparse.Namespace) -> list[str]:
    """What is to be written."""
    return list(filter(None, (args.output, args.results, args.mot_results, args.mots_results)))


def open_source(args: argparse.Namespace, cfg: CfgNode) -> Source:
    """A video, or the paths of images that have nothing to do with each other.

    A folder is the latter to an image model, a single image to all models, unless the output shall
    be a video.
    """
    path = Path(args.input)
    if args.output is not None and path.exists() and path.resolve() == Path(args.output).resolve():
        raise UserError(f"--output is the input {path} itself; give another name")
    model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)
    can_track = tracks_instances(model)
    wants_tracks = args.mot_results is not None or args.mots_results is not None
    if wants_tracks and (classifies_video(model) or not can_track):
        raise UserError(
            f"{cfg.MODEL.META_ARCHITECTURE} does not track, so there are no tracks to write; leave "
            "out --mot-results and --mots-results"
        )
    if restores_images(model) and args.results is not None:
        raise UserError(
            f"{cfg.MODEL.META_ARCHITECTURE} restores images and finds nothing in them to write; leave "
            "out --results"
        )
    if args.side_by_side and not restores_images(model):
        raise UserError(
            f"{cfg.MODEL.META_ARCHITECTURE} does not restore images; leave out --side-by-side"
        )
    is_image = path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES
    is_image |= path.is_dir() and not can_track
    if is_image and not wants_tracks and Path(args.output or "").suffix.lower() != ".mp4":
        return list_images(path) if path.is_dir() else [path]
    return open_video(
        args.input,
        fps=args.fps,
        prefetch=cfg.TEST.VIDEO.PREFETCH,
        on_broken="stop" if args.stop_at_damage else "raise",
    )


def open_output(path: str, source: Source, lossless: bool) -> FrameWriter:
    """A folder of images for a name without a suffix, else an image or a video.

    Args:
        lossless: write PNG into a folder.
    """
    is_folder = Path(path).is_dir() or not Path(path).suffix
    if isinstance(source, FrameSource):
        numbered = (f"{index:06d}.png" for index in count()) if lossless else None
        return ImageFolderWriter(path, numbered) if is_folder else VideoWriter(path, source.fps)
    if is_folder:
        names = [image.name for image in source]
        return ImageFolderWriter(path, lossless_names(names) if lossless else names)
    if len(source) > 1:
        raise UserError(
            f"cannot write {len(source)} images to {path}; give a new folder, a name without a dot"
        )
    return ImageFileWriter(path)


def open_json(
    args: argparse.Namespace, source: Source, class_names: list[str] | None
) -> AbstractContextManager[VideoResultsWriter]:
    """The results file of a video or of images."""
    path, more = args.results, {"categories": class_names, "topk": args.topk}
    if isinstance(source, FrameSource):
        return open_results(path, video=source.name, size=source.size, fps=source.fps, **more)
    return open_image_results(path, images=args.input, **more)


def run(args: argparse.Namespace, predictor: VideoPredictor, source: Source) -> int:
    """Predict, draw and write; returns the number of frames or images."""
    live_fps = None
    if isinstance(source, FrameSource):
        frames, total, unit = predictor(source), source.estimated_length, "frame"
        live_fps = source.fps if source.is_live else None
    else:
        frames = predictor.predict_images(source, "stop" if args.stop_at_damage else "raise")
        total, unit = len(source), "image"
    names = predictor.class_names
    draw = FrameDrawer(
        names,
        score_threshold=args.score_threshold,
        draw_boxes=args.draw_boxes,
        trail_length=args.trails,
        scale=args.scale,
        topk=args.topk,
        side_by_side=args.side_by_side,
    )
    done = 0
    frame = None
    with ExitStack() as stack:
        output = results = None
        if args.output is not None:
            # JPEG would cost much of what was restored.
            lossless = restores_images(predictor.model)
            writer = stack.enter_context(open_output(args.output, source, lossless))
            output = PacedWriter(writer, live_fps if isinstance(writer, VideoWriter) else None)
        if args.results is not None:
            results = stack.enter_context(open_json(args, source, names))
        tracks = [
            stack.enter_context(open_tracks(path))
            for path, open_tracks in (
                (args.mot_results, open_mot_results),
                (args.mots_results, open_mots_results),
            )
            if path is not None
        ]
        # A file is whole or not at all, but a camera has no other end.
        interrupted = stack.enter_context(
            nullcontext(lambda: False) if live_fps is None else stop_on_interrupt()
        )
        stack.enter_context(closing(frames))
        for frame in stack.enter_context(tqdm(frames, total=total, unit=unit)):
            if results is not None:
                results.write(frame)
            for each in tracks:
                each.write(frame.index, frame.instances)
            if output is not None:
                output.write(draw(frame), frame.time)
            done += 1
            if interrupted():
                break
    # By all frames of a video; images have their own answers.
    if isinstance(source, FrameSource) and frame is not None and frame.class_scores is not None:
        best = top_classes(frame.class_scores, args.topk)
        shown = [f"{label_of_class(index, names)} {100 * score:.1f} %" for index, score in best]
        logging.getLogger("d2video").info("%s: %s", args.input, ", ".join(shown))
    return done


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
    done = run(args, VideoPredictor(cfg), source)
    logger = logging.getLogger("d2video")
    logger.info(
        "%d frames or images of %s written to %s", done, args.input, " and ".join(outputs(args))
    )

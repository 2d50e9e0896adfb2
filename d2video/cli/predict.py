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
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils.logger import setup_logger

from d2video.config import load_cfg
from d2video.engine.setup import check_device
from d2video.inference.output import Source, annotate, open_source
from d2video.inference.predictor import VideoPredictor
from d2video.inference.tasks import DrawingOptions, Task
from d2video.inference.tasks.instances import DEFAULT_TRAIL_LENGTH
from d2video.projects import register_all
from d2video.structures.class_scores import DEFAULT_TOPK
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.video.camera import CAMERA_PREFIX

RESULTS = ("results", "mot_results", "mots_results")


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
    return [path for kind in ("output", *RESULTS) if (path := getattr(args, kind))]


def check_input(args: argparse.Namespace) -> None:
    """Refuse a wrong path before it costs the building of a model.

    Raises:
        UserError: there is no such input, or the output is the input.
    """
    if args.input.startswith(CAMERA_PREFIX):
        return
    path = Path(args.input)
    if not path.exists():
        raise UserError(f"{path} does not exist; give a video, an image or a folder of images")
    if args.output is not None and path.resolve() == Path(args.output).resolve():
        raise UserError(f"--output is the input {path} itself; give another name")


def check_offers(args: argparse.Namespace, model: str, task: Task) -> None:
    """Refuse outputs that the model's task does not offer.

    Raises:
        UserError: there is one.
    """
    for name, fault in (
        ("results", "finds nothing in images that could be written"),
        ("mot_results", "does not track, so there are no tracks to write"),
        ("mots_results", "does not track, so there are no tracks to write"),
        ("side_by_side", "does not restore images"),
    ):
        if getattr(args, name) and name not in task.offers:
            raise UserError(f"{model} {fault}; leave out --{name.replace('_', '-')}")


def open_input(args: argparse.Namespace, cfg: CfgNode, task: Task) -> Source:
    """A folder is images to an image model, a single image is one to all models, unless tracks or a
    video are to be written."""
    is_video = Path(args.output or "").suffix.lower() == ".mp4"
    return open_source(
        args.input,
        takes_images=task.takes_images,
        as_video=is_video or bool(args.mot_results or args.mots_results),
        fps=args.fps,
        prefetch=cfg.TEST.VIDEO.PREFETCH,
        on_broken="stop" if args.stop_at_damage else "raise",
    )


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    register_all()
    setup_logger(name="d2video")
    setup_logger(name="fvcore")
    cfg = load_cfg(args.config_file, args.opts)
    check_device(cfg.MODEL.DEVICE)
    cfg.freeze()
    check_input(args)
    predictor = VideoPredictor(cfg)
    check_offers(args, cfg.MODEL.META_ARCHITECTURE, predictor.task)
    results = {kind: getattr(args, kind) for kind in RESULTS if getattr(args, kind)}
    done = annotate(
        predictor,
        open_input(args, cfg, predictor.task),
        args.output,
        results=results,
        options=DrawingOptions(
            score_threshold=args.score_threshold,
            draw_boxes=args.draw_boxes,
            trail_length=args.trails,
            scale=args.scale,
            topk=args.topk,
            side_by_side=args.side_by_side,
        ),
        on_broken="stop" if args.stop_at_damage else "raise",
        progress=True,
    )
    logging.getLogger("d2video").info(
        "%d frames or images of %s written to %s", done, args.input, " and ".join(outputs(args))
    )

"""Run a model on a video or on images, and write them annotated, and the predictions as JSON or MOT.

A model that tracks or classifies takes a folder as the frames of one video, all of one size. An image
model, such as DETR, takes it as images of any sizes, and each is written under its own name. A camera
or a live stream runs until Ctrl-C, which keeps what was written; frames that come while the model is busy
are skipped. Of several videos each has its own files.
A model that classifies gets a panel below each picture with the top classes and their scores so far. A
model that restores images writes the restored ones, in their own size.

Examples:
    python tools/demo.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml \\
        --input street.mp4 --output street_tracks.mp4 --results street_tracks.json \\
        MODEL.WEIGHTS model.pth
    python tools/demo.py --config-file configs/DETR/detr_panoptic_R50.yaml \\
        --input photo.jpg --output annotated.jpg MODEL.WEIGHTS model.pth
    python tools/demo.py --config-file configs/DETR/detr_R50_500ep.yaml \\
        --input photos --output annotated MODEL.WEIGHTS model.pth
    python tools/demo.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml \\
        --input camera:0 --output live.mp4 MODEL.WEIGHTS model.pth
    python tools/demo.py --config-file configs/IPT/ipt_finetune_sr_x2.yaml \\
        --input small.png --output large.png --side-by-side MODEL.WEIGHTS model.pth
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from d2video.cli.arguments import (
    add_model,
    command_parser,
    model_cfg,
)
from d2video.cli.drawing import add_drawing, drawing_of
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.sources import check_source

RESULTS = ("results", "mot_results", "mots_results")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "predict")
    add_model(parser)
    parser.add_argument(
        "--input",
        required=True,
        help="video, animated GIF or PNG, image, folder of them, a pattern in quotes ('videos/*.mp4'), "
        "an address (https://, rtsp://, rtmp://, udp://), or camera:0 for the first camera",
    )
    parser.add_argument(
        "--output",
        help="annotated video (.mp4), image (.jpg, .png), or a new folder for the frames or images "
        "(restored ones are PNG files there, a.png for a.jpg); for several videos, a folder for them, "
        "as for their results",
    )
    parser.add_argument(
        "--results", metavar="FILE", help="JSON file for the predictions, masks as COCO RLE"
    )
    parser.add_argument(
        "--mot-results", metavar="FILE", help="text file for the boxes, in MOTChallenge's format"
    )
    parser.add_argument(
        "--mots-results", metavar="FILE", help="text file for the masks, in the MOTS format"
    )
    parser.add_argument(
        "--fps",
        type=float,
        help="frame rate; by default a video's frames keep their own times, a folder has 25",
    )
    parser.add_argument(
        "--stop-at-damage",
        dest="on_broken",
        action="store_const",
        const="stop",
        default="raise",
        help="keep what lies before the damage in a broken or cut video or folder, before a broken image of "
        "several, or before a camera fails, instead of failing",
    )
    parser.add_argument(
        "--show", action="store_true", help="show the pictures in a window; q or Esc ends"
    )
    add_drawing(parser)
    args = parser.parse_args(argv)
    if not outputs(args) and not args.show:
        parser.error(
            "nothing to do: give --output, --results, --mot-results, --mots-results or --show"
        )
    args.drawing = drawing_of(args)
    # A wrong path is refused before it costs the building of a model.
    path = Path(args.input)
    check_source(args.input)
    if args.output is not None and path.resolve() == Path(args.output).resolve():
        raise UserError(f"--output is the input {path} itself; give another name")
    return args


def outputs(args: argparse.Namespace) -> list[str]:
    """The paths to write."""
    return [path for kind in ("output", *RESULTS) if (path := getattr(args, kind))]


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.show:
        from d2video.video.window import Window

        Window("d2video").close()  # a screen that is missing shows before the model is built
    from d2video.inference import VideoPredictor, annotate, open_source
    from d2video.inference.output import check_offers

    cfg = model_cfg(args)
    predictor = VideoPredictor(cfg)
    asked = [kind for kind in (*RESULTS, "side_by_side") if getattr(args, kind)]
    check_offers(predictor, {kind: f"--{kind.replace('_', '-')}" for kind in asked})
    is_video = Path(args.output or "").suffix.lower() == ".mp4"
    source = open_source(
        args.input,
        takes_images=predictor.task.takes_images,
        as_video=is_video or bool(args.mot_results or args.mots_results),
        fps=args.fps,
        on_broken=args.on_broken,
    )
    done = annotate(
        predictor,
        source,
        args.output,
        results={kind: path for kind in RESULTS if (path := getattr(args, kind))},
        options=args.drawing,
        on_broken=args.on_broken,
        progress=True,
        show=args.show,
    )
    if outputs(args):
        logging.getLogger("d2video").info(
            "%d frames or images of %s written to %s",
            done,
            source.name,
            " and ".join(outputs(args)),
        )

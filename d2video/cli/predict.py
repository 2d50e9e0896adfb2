"""Run a model on videos or images, and write annotated videos or images and the predictions.

Models that track or classify treat a folder as the frames of one video, all of one size. Image models, such
as DETR, treat it as images of any size and write each under its own name. A camera or a live stream runs
until you press Ctrl-C, which keeps what was written. Frames that arrive while the model is busy are skipped.

Each of several videos gets its own files. The processes of --num-gpus or torchrun divide the videos among
them. To continue a stopped run, repeat the command: finished videos are skipped, failed ones are retried.

For classification models, a panel below each picture shows the top classes and their scores so far.
Restoration models write the restored images in the size that they have.

Without --model, --config-file and MODEL.WEIGHTS, the official DETR for panoptic segmentation runs; it is
downloaded on first use. Without --output, --results and --show, an annotated video street_annotated.mp4
(image photo_annotated.jpg, folder photos_annotated) and the predictions street_annotated.json are written to
the current folder.

Examples: d2video predict street.mp4
d2video predict photos --model DETR/detr_R50_500ep --output annotated
d2video predict street.mp4 --model output/model_final.pth --output tracks.mp4 --results tracks.json
d2video predict camera:0 --show
d2video predict street.mp4 --config-file VisTR/vistr_R50_ytvis2019 MODEL.WEIGHTS model.pth
torchrun --nproc-per-node 8 -m d2video predict videos.txt --model output/model_final.pth --results found
d2video predict small.png --model sr_x2.pth --output large.png --side-by-side
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from d2video.cli.arguments import (
    add_model,
    add_names,
    command_parser,
)
from d2video.cli.drawing import add_drawing, drawing_of
from d2video.cli.train import add_processes
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.sources import camera_number, check_not_input, check_source

RESULTS = ("results", "mot_results", "mots_results")
DEFAULT_MODEL = "DETR/detr_panoptic_R50"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "predict")
    add_model(parser)
    add_names(
        parser,
        "sources",
        "SOURCE",
        "videos, animated GIFs or PNGs, images, folders of them, quoted patterns ('videos/*.mp4'), a list "
        "of videos (videos.txt: one URL or path relative to the list on each line; # starts a comment), "
        "URLs (https://, rtsp://, rtmp://, udp://), or camera:0 for the first camera",
    )
    parser.add_argument(
        "--input", metavar="SOURCE", help="one source, as an option at any position"
    )
    parser.add_argument(
        "--output",
        help="annotated video (.mp4), image (.jpg, .png), or new folder for the frames or images (restored "
        "images are PNG files: a.png for a.jpg). For several videos, --output and the options for results "
        "name folders",
    )
    parser.add_argument(
        "--results", metavar="FILE", help="JSON file for the predictions, with masks as COCO RLE"
    )
    parser.add_argument(
        "--mot-results", metavar="FILE", help="text file for the boxes, in MOTChallenge format"
    )
    parser.add_argument(
        "--mots-results", metavar="FILE", help="text file for the masks, in MOTS format"
    )
    parser.add_argument(
        "--fps",
        type=float,
        help="frame rate (default: a video's frames keep their times; 25 for a folder)",
    )
    parser.add_argument(
        "--stop-at-damage",
        dest="on_broken",
        action="store_const",
        const="stop",
        default="raise",
        help="instead of failing, keep what was predicted before the damage in a broken or truncated video "
        "or folder, before a broken image of several, or before a camera failed",
    )
    parser.add_argument(
        "--show", action="store_true", help="show the pictures in a window; q or Esc closes it"
    )
    add_drawing(parser)
    add_processes(parser)
    parser.set_defaults(resume=True)  # for torchrun's restarts: finished videos are skipped
    args = parser.parse_args(argv)
    args.drawing = drawing_of(args)
    args.sources += filter(None, [args.input])
    if not args.sources:
        parser.error("no source is given: name a video, an image, a folder, an address or camera:0")
    # Reject a wrong path before building the model.
    for source in args.sources:
        check_source(source)
    check_not_input(outputs(args), args.sources)
    if not (outputs(args) or args.show) and any(
        camera_number(each) is not None for each in args.sources
    ):
        raise UserError(f"{args.sources[0]} has no end: give --output, --results or --show")
    return args


def outputs(args: argparse.Namespace) -> list[str]:
    """Return the output paths."""
    return [path for kind in ("output", *RESULTS) if (path := getattr(args, kind))]


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.show:
        from d2video.video.window import Window

        Window("d2video").close()  # a missing display is reported before the model is built
    from d2video.config import asked_device
    from d2video.config.files import override_pairs
    from d2video.engine.launch import launch_run
    from d2video.engine.logs import set_up_logs
    from d2video.inference.loading import predictor_config

    if not (args.model or args.config_file or "MODEL.WEIGHTS" in override_pairs(args.opts)):
        args.model = DEFAULT_MODEL
    if args.num_gpus > 1:  # report an error once, and download files once
        set_up_logs()
        predictor_config(args.model, args.config_file, args.opts)
    launch_run(run, args, asked_device(args.config_file, args.opts))


def run(args: argparse.Namespace) -> None:
    """Predict in this process, which may be one of a group that divides the videos."""

    from detectron2.utils import comm

    from d2video.engine.hooks.stop_signal import ended_by_signals
    from d2video.engine.logs import set_up_logs
    from d2video.inference import annotate, load, open_source
    from d2video.inference.output import check_offers, default_outputs
    from d2video.utils.distributed import decided_by_main

    given = args.sources[0] if len(args.sources) == 1 else args.sources
    is_video = Path(args.output or "").suffix.lower() == ".mp4"
    options = {
        "as_video": is_video or bool(args.mot_results or args.mots_results),
        "fps": args.fps,
        "on_broken": args.on_broken,
    }
    set_up_logs(rank=comm.get_rank())
    predictor = load(args.model, config=args.config_file, opts=args.opts)
    asked = [kind for kind in (*RESULTS, "classes", "side_by_side") if getattr(args, kind)]
    check_offers(predictor, {kind: f"--{kind.replace('_', '-')}" for kind in asked})
    source = open_source(given, takes_images=predictor.task.takes_images, **options)
    if comm.get_world_size() > 1:
        decided_by_main(lambda: _check_shared(source, args.show))
    if not (outputs(args) or args.show):
        args.output, args.results = default_outputs(source, given, predictor.task)
    results = {kind: path for kind in RESULTS if (path := getattr(args, kind))}
    with ended_by_signals():
        done = annotate(
            *(predictor, source, args.output),
            results=results,
            options=args.drawing,
            on_broken=args.on_broken,
            progress=True,
            show=args.show,
        )
    if outputs(args):
        places = " and ".join(outputs(args))
        logger = logging.getLogger("d2video")
        logger.info("%d frames or images of %s written to %s", done, source.name, places)


def _check_shared(source: Any, show: bool) -> None:
    from d2video.inference import Videos

    if not isinstance(source, Videos):
        raise UserError(
            f"several processes need several videos, but {source.name} is one source: start one process"
        )
    if show:
        raise UserError("--show works in one process only: leave it out, or start one process")

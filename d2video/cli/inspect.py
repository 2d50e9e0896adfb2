"""Visualise the inside of a model on one image or video, as a page: its attention and its queries.

The content depends on the system (docs/guides/evaluate.md): attention of image points, detections, instances
and tracks, what each decoder layer adds, and statistics of query slots over a dataset. The page is one HTML
file; its pictures are also saved as PNG files in <page>_files beside it.

Examples:
    d2video inspect photo.jpg --model DETR/detr_R50_500ep --output page.html
    d2video inspect street.mp4 --model output/model_final.pth --start 40 --points 120,80 300,200
    d2video inspect photo.jpg --model output/model_final.pth --data coco_2017_val
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from d2video.cli.arguments import (
    add_model,
    command_parser,
    move_keys,
    new_file,
    not_negative,
    positive,
    score,
)
from d2video.utils.errors import exit_on_user_error
from d2video.utils.sources import check_source


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "inspect")
    parser.add_argument("source", metavar="INPUT", help="image, video, or folder of frames")
    add_model(parser)
    parser.add_argument(
        "--output",
        type=new_file,
        default=Path("inspection.html"),
        metavar="FILE",
        help="page to write (default: %(default)s)",
    )
    parser.add_argument(
        "--start",
        type=not_negative,
        default=0,
        metavar="N",
        help="first frame to show (default: %(default)s)",
    )
    parser.add_argument(
        "--frames", type=positive, metavar="N", help="number of frames (default: set by the model)"
    )
    parser.add_argument(
        "--points",
        type=_point,
        nargs="+",
        default=[],
        metavar="X,Y",
        help="pixels whose attention to show (default: the objects' centres)",
    )
    for what, shown in (("queries", "those with objects"), ("tracks", "the longest")):
        parser.add_argument(
            f"--{what}",
            type=not_negative,
            nargs="+",
            default=[],
            metavar="N",
            help=f"{what} to show (default: {shown})",
        )
    parser.add_argument(
        "--layer",
        type=int,
        default=-1,
        metavar="N",
        help="layer whose attention to show; -1 is the last (default: %(default)s)",
    )
    parser.add_argument(
        "--score",
        type=score,
        default=0.5,
        help="minimum score of the objects (default: %(default)s)",
    )
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="NAME",
        help="labelled dataset (registered name or path) for statistics over many images",
    )
    args = parser.parse_args(argv)
    move_keys(args, "data")
    check_source(args.source)
    return args


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from d2video.config.device import check_device
    from d2video.data.loading import check_registered
    from d2video.engine.logs import set_up_logs
    from d2video.inference import Predictor, open_source
    from d2video.inspection import Look, inspect
    from d2video.model_zoo import model_config
    from d2video.report import write_page

    set_up_logs()
    data = ["DATASETS.TEST", repr(tuple(args.data))] if args.data else []
    cfg = model_config(args.model, args.config_file, [*data, *args.opts])
    check_device(cfg.MODEL.DEVICE)
    for name in cfg.DATASETS.TEST if args.data else ():
        check_registered(name)
    predictor = Predictor(cfg)
    look = Look(
        predictor=predictor,
        source=open_source(args.source, takes_images=predictor.task.takes_images),
        folder=args.output.with_name(f"{args.output.stem}_files"),
        first=args.start,
        num_frames=args.frames,
        points=args.points,
        queries=args.queries,
        tracks=args.tracks,
        layer=args.layer,
        score=args.score,
        cfg=cfg if args.data else None,
    )
    sections = inspect(look)
    model = type(predictor.model).__name__
    page = write_page(args.output, f"{model} on {Path(look.source.name).name}", sections)
    logging.getLogger("d2video").info("Wrote the page on the inside of %s to %s", model, page)


def _point(text: str) -> tuple[float, float]:
    """Parse a point "X,Y" in pixels."""
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a point: write X,Y, such as 120,80"
        ) from None
    return x, y

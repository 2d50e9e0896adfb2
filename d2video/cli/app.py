"""Serve a page in the browser that annotates pictures, videos and the webcam.

Users choose one of the given models, watch the frames as they are annotated, and download the video or
picture and the predictions as JSON. Models that track also offer a file in MOTChallenge format. Users'
files are deleted when they close the page and when the program ends. Each model processes one file at a
time; further files wait in its queue.

The page is available only on this machine unless --host names another network interface. Access then needs
a token, which is part of the printed address. The connection is not encrypted: in an untrusted network put
an HTTPS server in front, or use an SSH tunnel.

Needs the extra [app]: pip install 'd2video[app]'.

Examples: d2video app --model DETR/detr_panoptic_R50
d2video app --model output/model_final.pth --model VisTR/vistr_R50_ytvis2019 --host 0.0.0.0 --max-seconds 30
"""

import argparse
from collections.abc import Sequence

from d2video.cli.arguments import MODEL_HELP, add_opts, command_parser, positive
from d2video.utils.errors import UserError, exit_on_user_error


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "app")
    parser.add_argument(
        "--model",
        action="append",
        required=True,
        dest="models",
        help=f"{MODEL_HELP}; repeat it for several models",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="name or address of the network interface; 0.0.0.0: all of them (default: %(default)s, this "
        "machine only)",
    )
    parser.add_argument(
        "--port", type=int, default=7860, help="port; 0: any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--token",
        default="",
        help="token for access; the first address opened must end in ?token=TOKEN (default: none if only "
        "this machine has access, else a random one, which is printed)",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-upload",
        type=_above_0,
        default=200.0,
        metavar="MB",
        help="maximum size of a file (default: %(default)g)",
    )
    limits.add_argument(
        "--max-seconds",
        type=_above_0,
        default=120.0,
        metavar="S",
        help="maximum length of a video in seconds (default: %(default)g)",
    )
    limits.add_argument(
        "--max-frames",
        type=positive,
        default=3000,
        metavar="N",
        help="maximum number of frames of a video (default: %(default)s)",
    )
    limits.add_argument(
        "--max-megapixels",
        type=_above_0,
        default=9.0,
        metavar="MP",
        help="maximum size of a picture or of a video's frames, height times width in 10^6 pixels "
        "(default: %(default)g, enough for 4K)",
    )
    add_opts(parser)
    args = parser.parse_args(argv)
    if not 0 <= args.port < 2**16:
        parser.error(f"--port is {args.port}: give a number from 0 to 65535")
    return args


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        import gradio as _  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(
            f"d2video app: {error.name} is missing; install it: pip install 'd2video[app]'"
        ) from error
    from d2video.app.limits import Limits
    from d2video.app.server import serve
    from d2video.engine.logs import set_up_logs
    from d2video.inference import load

    set_up_logs()
    models = {name: load(name, opts=args.opts) for name in dict.fromkeys(args.models)}
    limits = Limits(args.max_upload, args.max_seconds, args.max_frames, args.max_megapixels)
    serve(models, host=args.host, port=args.port, token=args.token, limits=limits)


def _above_0(text: str) -> float:
    """Parse the value of a limit, which must be above 0."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be above 0, not {value:g}")
    return value

"""Export a model as graphs that run without d2video's training code: ONNX, or torch.export programs.

The output folder receives a file for each graph and a manifest.json. ``d2video.deploy.Runner`` predicts from
it with only numpy, OpenCV and onnxruntime (docs/guides/export.md). Each graph is compared with the model on
inputs of another size; the command fails if they differ.

Examples:
    d2video export DETR/detr_panoptic_R50 --output exported
    d2video export output/model_final.pth --format torch --output exported
    python -m d2video.deploy exported street.mp4 --output results.json
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from d2video.cli.arguments import MODEL_HELP, add_config, add_names, command_parser
from d2video.utils.errors import UserError, exit_on_user_error


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "export")
    parser.add_argument("--model", default="", help=argparse.SUPPRESS)
    add_config(parser, required=False)
    add_names(parser, "model", "MODEL", MODEL_HELP)
    parser.add_argument(
        "--format",
        choices=("onnx", "torch", "aoti"),
        default="onnx",
        help="onnx: ONNX files; torch: torch.export programs (.pt2); aoti: such programs compiled with "
        "AOTInductor for this kind of machine (default: %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder to write to; it may exist"
    )
    return parser.parse_args(argv)


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.output.exists() and not args.output.is_dir():
        raise UserError(f"--output {args.output} is a file: name a folder")
    if args.format == "onnx":
        _check_packages()
    from detectron2.modeling import build_model

    from d2video.checkpoint import VideoCheckpointer
    from d2video.cli.arguments import model_cfg
    from d2video.export import write_export

    args.opts = [*args.opts, "MODEL.DEVICE", "cpu"]
    cfg = model_cfg(args)
    model = build_model(cfg.clone()).eval()
    VideoCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)
    differences = write_export(model, cfg, args.format, args.output)
    for name, difference in differences.items():
        print(f"{name}: differs from the model by at most {difference:.1e}")
    print(f"written to {args.output}; run it: python -m d2video.deploy {args.output} INPUT")


def _check_packages() -> None:
    """Check that the packages of the extra [export] are installed.

    Raises:
        UserError: if one is missing.
    """
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"{', '.join(missing)} not installed: run \"pip install 'd2video[export]'\", or choose --format "
            "torch"
        )

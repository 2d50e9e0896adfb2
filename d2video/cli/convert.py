"""Convert official checkpoints to d2video's and back, checked key by key.

Without --format the input is d2video's own, of a training run: its parameters alone are written, to
be released. An --output that ends in .safetensors is written in that format; both are loaded as
MODEL.WEIGHTS.

Examples: tools/convert_checkpoint.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml \\
    --format vistr --input vistr_r50.pth --output vistr_r50_d2video.safetensors
tools/convert_checkpoint.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml \\
    --input output/model_final.pth --output vistr_r50.safetensors
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from d2video.cli.arguments import add_config, command_parser
from d2video.utils.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from d2video.checkpoint import CheckpointFormat, State


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    add_config(parser)
    parser.add_argument(
        "--format",
        help="foreign format, such as vistr (a wrong name lists those of the model); left out: "
        "d2video's own, of which all but the parameters is dropped",
    )
    parser.add_argument("--input", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--reverse", action="store_true", help="from d2video to the foreign format")
    parser.add_argument(
        "--widen",
        action="store_true",
        help="enlarge a smaller model's parameters to --config-file's",
    )
    parser.add_argument(
        "--base", type=Path, help="d2video checkpoint that gives what the format does not provide"
    )
    args = parser.parse_args(argv)
    if not args.format and (args.reverse or args.widen):
        raise UserError("--reverse and --widen need the foreign --format")
    if args.reverse and (args.widen or args.base):
        raise UserError("--widen and --base are for the way to d2video: leave out --reverse")
    return args


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    import torch
    from detectron2.modeling import build_model

    from d2video.checkpoint import (
        CheckpointFormat,
        checkpoint_format,
        load_checkpoint_file,
        state_dict_of,
        to_foreign,
        write_checkpoint,
    )
    from d2video.config import load_cfg
    from d2video.projects import register_all

    register_all()
    # Values are needed where something starts anew in the middle of a parameter.
    device = "cpu" if args.widen else "meta"
    cfg = load_cfg(args.config_file, [*args.opts, "MODEL.DEVICE", device])
    fmt = CheckpointFormat("d2video", name_of=lambda name: name)
    if args.format:
        fmt = checkpoint_format(cfg.MODEL.META_ARCHITECTURE, args.format)
    source = state_dict_of(load_checkpoint_file(args.input, foreign=True), args.input)
    torch.manual_seed(max(cfg.SEED, 0))
    model = build_model(cfg).state_dict()
    if args.reverse:
        converted = to_foreign(source, model, fmt)
    else:
        converted = _to_ours(source, model, fmt, cfg, args)
    key = fmt.file_key if args.reverse else "model"
    if args.output.suffix == ".safetensors":  # which holds parameters and nothing over them
        key = ""
    write_checkpoint({key: converted} if key else converted, args.output)
    print(f"{len(converted)} parameters written to {args.output}")


def _to_ours(
    source: "State",
    model: "State",
    fmt: "CheckpointFormat",
    cfg: "CfgNode",
    args: argparse.Namespace,
) -> "State":
    """The converted parameters; prints what is more than a new name."""
    from d2video.checkpoint import adapt_foreign, from_foreign, load_checkpoint_file, state_dict_of

    if args.widen and fmt.widen is None:
        raise UserError(f"--widen: models of the format '{args.format}' cannot be enlarged")
    widen = fmt.widen(cfg) if args.widen and fmt.widen else None
    source, notes = adapt_foreign(source, model, fmt, widen)
    converted, fresh, unused = from_foreign(source, model, fmt)
    print("".join(f"{note}\n" for note in notes), end="")
    lines = {"have no use here": unused}
    if args.base:
        base = state_dict_of(load_checkpoint_file(args.base), args.base)
        taken = [name for name in fresh if name in base]
        misshapen = [name for name in taken if base[name].shape != model[name].shape]
        if misshapen or not taken:
            named = f"{', '.join(misshapen[:4])} of another shape"
            raise UserError(
                f"--base {args.base} has {named if misshapen else 'nothing missing'}: give a "
                "checkpoint of this config's model"
            )
        converted |= {name: base[name] for name in taken}
        lines[f"come from {args.base}"] = taken
        fresh = [name for name in fresh if name not in base]
    for title, names in {"start anew": fresh, **lines}.items():
        if names:
            print(f"{len(names)} parameters {title}: {', '.join(names)}")
    return converted

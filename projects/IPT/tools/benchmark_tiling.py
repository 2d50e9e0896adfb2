#!/usr/bin/env python3
"""Compare the two tilings of a trained IPT on whole images: PSNR, seconds and patches; table and JSON.

The test sets of a config, each of one task, are restored twice: as the official code does, with its
corner, and fast, the default. Nothing else differs::

    projects/IPT/tools/benchmark_tiling.py --config-file configs/IPT/ipt_finetune_sr_x2.yaml --count 20 \\
        --json tiling.json --opts MODEL.WEIGHTS model.pth

Seconds are the median of an image, from the image on the CPU to the answer there; each tiling restores
the first image once before, to warm up.
"""

import sys
from collections.abc import Sequence

from d2video.cli.arguments import add_json, add_model, command_parser, model_cfg, positive
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.files import write_json


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    add_model(parser)
    add_json(parser)
    parser.add_argument("--count", type=positive, help="images of each test set (default: all)")
    args = parser.parse_args(argv)

    cfg = model_cfg(args)
    import torch
    from d2video.projects.ipt.tiling_comparison import compare
    from detectron2.modeling import build_model
    from tabulate import tabulate

    from d2video.checkpoint import VideoCheckpointer
    from d2video.utils.measuring import environment

    if cfg.MODEL.META_ARCHITECTURE != "IPT":
        raise UserError(f"{cfg.MODEL.META_ARCHITECTURE} has no tiling: give a config of IPT")
    if not cfg.DATASETS.TEST:
        raise UserError("DATASETS.TEST is empty: name the datasets to restore")
    if not cfg.MODEL.WEIGHTS:
        raise UserError("MODEL.WEIGHTS is empty: PSNR needs a trained model")
    model = build_model(cfg).eval()
    VideoCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)
    rows = [row for name in cfg.DATASETS.TEST for row in compare(cfg, model, name, args.count)]
    about = environment(torch.device(cfg.MODEL.DEVICE))
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(tabulate(rows, "keys", "pipe", floatfmt=("", "", "", "", ".3f", ".3f", ".1f")))
    if args.json:
        content = {"command": " ".join(sys.argv), "environment": about, "results": rows}
        write_json(args.json, content)


if __name__ == "__main__":
    main()

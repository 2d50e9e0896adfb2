#!/usr/bin/env python3
"""Measure how a trained denoising model does on noise that it was not trained on.

Every denoising task of the model restores the images at every noise level, with noise cut to 0..255, as
in the official code, and without, as in most other papers::

    projects/IPT/tools/evaluate_noise.py \\
        --config-file configs/IPT/ipt_finetune_denoise_30.yaml --images CBSD68 \\
        --json noise.json --opts MODEL.WEIGHTS model.pth

The noise of an image depends only on its file name and the level. Beside the model stand the noisy
images themselves and the bilateral filter whose settings are best for each level.
"""

from collections.abc import Sequence

from d2video.cli.arguments import add_json, add_model, command_parser, model_cfg, positive
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.files import write_json


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    add_model(parser)
    add_json(parser)
    parser.add_argument(
        "--images", help="folder of clean images; by default those of the first of DATASETS.TEST"
    )
    parser.add_argument(
        "--sigma",
        type=positive,
        nargs="+",
        default=(10, 30, 50, 70),
        help="levels of noise (default: %(default)s)",
    )
    parser.add_argument(
        "--task", nargs="+", default=(), help="tasks that restore (default: all that denoise)"
    )
    args = parser.parse_args(argv)

    cfg = model_cfg(args)
    from d2video.projects.ipt.noise_levels import evaluate
    from detectron2.data import DatasetCatalog
    from tabulate import tabulate

    from d2video.data.datasets.image_folder import load_image_folder

    if args.images is None and not cfg.DATASETS.TEST:
        raise UserError("give --images, or a dataset in DATASETS.TEST")
    records = (
        load_image_folder(args.images) if args.images else DatasetCatalog.get(cfg.DATASETS.TEST[0])
    )
    clean = [{key: record[key] for key in ("file_name", "image_id")} for record in records]
    rows = evaluate(cfg, clean, args.sigma, args.task)
    # dB with two decimals, SSIM with four.
    print(tabulate(rows, "keys", "pipe", floatfmt=("", "", "", *[".2f", ".2f", ".4f"] * 3)))
    if args.json:
        write_json(args.json, rows)


if __name__ == "__main__":
    main()

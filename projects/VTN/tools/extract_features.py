#!/usr/bin/env python3
"""Extract the features of all frames of a dataset's videos with VTN's backbone, for training only its
temporal encoder.

A run that was broken off goes on where it stopped: files that are there are kept. Afterwards the set
"<dataset>_features" is there for DATASETS.TRAIN and TEST, if --output is left as it is
($DETECTRON2_DATASETS/vtn_features/<dataset>).

Example: projects/VTN/tools/extract_features.py --config-file configs/VTN/vtn_ViT_B_kinetics400.yaml \\
    --dataset kinetics400_train MODEL.WEIGHTS vtn_vit_b.pth
"""

from collections.abc import Sequence
from pathlib import Path

from d2video.cli.arguments import add_model, command_parser, model_cfg
from d2video.utils.errors import exit_on_user_error


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    add_model(parser)
    parser.add_argument("--dataset", required=True, help="a registered dataset of videos")
    parser.add_argument("--output", type=Path, help="folder for the files")
    parser.add_argument(
        "--dtype", choices=("float16", "float32"), default="float32", help="of the stored numbers"
    )
    args = parser.parse_args(argv)

    cfg = model_cfg(args)
    from d2video.projects.vtn.feature_extraction import extract_features
    from d2video.projects.vtn.features import default_folder

    extract_features(cfg, args.dataset, args.output or default_folder(args.dataset), args.dtype)


if __name__ == "__main__":
    main()

"""Draw the model's input: training samples after sampling and augmentation, with their targets.

Each sample is drawn on one sheet::

    clips with objects (VisTR)      the frames in order, with masks, boxes, classes and track ids
    frame pairs (TrackFormer)       the previous frame, then the frame with the objects that track
                                    queries may find, and with those that are new
    images, also panoptic (DETR)    boxes, masks and classes
    clips of a class (VTN)          the frames with their numbers, and the class
    patches to restore (IPT)        the input, enlarged, beside its target

::

    d2video show-data VisTR/vistr_tiny_shapes.yaml --num-clips 8
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

from d2video.cli.arguments import NO_CONFIG, add_config, add_config_name, command_parser, positive
from d2video.utils.errors import UserError, exit_on_user_error


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__, "show-data")
    add_config(parser, required=False)
    add_config_name(parser)
    parser.add_argument(
        "--output-dir",
        default="output/visualize_data",
        type=Path,
        help="folder for the sheets (default: %(default)s)",
    )
    parser.add_argument(
        "--num-clips",
        default=8,
        type=positive,
        help="number of samples to draw (default: %(default)s)",
    )
    parser.add_argument(
        "--columns",
        default=6,
        type=positive,
        help="frames per row of a sheet (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    if not args.config_file:
        raise UserError(NO_CONFIG)

    from detectron2.utils.env import seed_all_rng
    from PIL import Image

    from d2video.config import load_cfg
    from d2video.data.build import build_train_loader, clips_of
    from d2video.utils.files import replace_on_success
    from d2video.visualization.samples import draw_sample

    cfg = load_cfg(args.config_file, args.opts)
    seed_all_rng(cfg.SEED if cfg.SEED >= 0 else None)
    loader = build_train_loader(cfg)
    class_names = clips_of(loader).class_names
    samples = itertools.chain.from_iterable(loader)
    for i, sample in enumerate(itertools.islice(samples, args.num_clips)):
        sheet, name = draw_sample(sample, class_names, args.columns, cfg.INPUT.FORMAT)
        path = args.output_dir / f"{i:03d}_{name}"
        with replace_on_success(path) as partial:
            Image.fromarray(sheet).save(partial, quality=92)
        print(path)

"""Draw what the model is fed: training clips after sampling and augmentation, with their targets.

Each clip becomes one sheet: its frames in order, with masks, boxes, classes and track ids. A patch of
image restoration is its input, enlarged, beside its target::

    tools/visualize_data.py --config-file configs/VisTR/vistr_tiny_shapes.yaml --num-clips 8
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

from d2video.cli.arguments import add_config, command_parser, positive
from d2video.utils.errors import UserError, exit_on_user_error


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    add_config(parser)
    parser.add_argument("--output-dir", default="output/visualize_data", type=Path)
    parser.add_argument("--num-clips", default=8, type=positive, help="sheets, or patches, to draw")
    parser.add_argument("--columns", default=6, type=positive, help="frames in a row of a sheet")
    args = parser.parse_args(argv)

    from detectron2.utils.env import seed_all_rng
    from PIL import Image

    from d2video.config import load_cfg
    from d2video.data.build import build_train_loader, clips_of
    from d2video.projects import register_all
    from d2video.utils.files import replace_on_success
    from d2video.visualization.samples import draw_clip, draw_patch

    register_all()
    cfg = load_cfg(args.config_file, args.opts)
    seed_all_rng(cfg.SEED if cfg.SEED >= 0 else None)
    loader = build_train_loader(cfg)
    class_names = clips_of(loader).class_names or ()
    samples = itertools.chain.from_iterable(loader)
    for i, sample in enumerate(itertools.islice(samples, args.num_clips)):
        if "target" in sample:
            sheet, name = draw_patch(sample), f"{sample['task']}.png"
        elif "frame_indices" in sample:
            sheet = draw_clip(sample, class_names, args.columns, cfg.INPUT.FORMAT)
            name = f"video_{sample['video_id']}.jpg"
        else:
            raise UserError(
                f"INPUT.DATASET_MAPPER {cfg.INPUT.DATASET_MAPPER} gives neither clips with objects "
                "nor patches to restore, which this tool draws: choose another config"
            )
        path = args.output_dir / f"{i:03d}_{name}"
        with replace_on_success(path) as partial:
            Image.fromarray(sheet).save(partial, quality=92)
        print(path)

"""Time DETR R50 beside the one of Hugging Face transformers: the same random weights, the same images.

The networks alone, without reading and post-processing, in turn; the median of the rounds counts::

    python -m benchmarks.beside_transformers --size 480 640 --size 800 1066 --batch 1 --batch 2
"""

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from d2video.cli.arguments import add_json, command_parser, positive
from d2video.utils.errors import exit_on_user_error
from d2video.utils.files import write_json

CONFIGS = {
    "detection": ("DetrForObjectDetection", "DETR/detr_R50_500ep"),
    "panoptic": ("DetrForSegmentation", "DETR/detr_panoptic_R50"),
}


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--task", choices=CONFIGS, default="detection", help="(default: detection)")
    parser.add_argument("--size", type=positive, nargs=2, action="append", metavar=("H", "W"))
    parser.add_argument("--batch", type=positive, action="append")
    parser.add_argument("--rounds", type=positive, default=3, help="(default: %(default)s)")
    add_json(parser)
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE", help="of our config")
    args = parser.parse_args(argv)

    import torch
    from tabulate import tabulate

    from d2video.utils.measuring import environment

    theirs, ours = models(args.task, args.opts)
    rows = []
    for size in args.size or [(800, 1066)]:
        for batch in args.batch or [1]:
            images = torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))
            rows.append(
                {
                    "size": f"{size[0]}x{size[1]}",
                    "batch": batch,
                    **side_by_side(theirs, ours, images, args.rounds),
                }
            )
    about = environment(torch.device("cpu"))
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(tabulate(rows, "keys", "plain", floatfmt=".3g"))
    if args.json:
        write_json(args.json, {"task": args.task, "environment": about, "rows": rows})


def models(task: str, opts: Sequence[str]) -> tuple[Any, Any]:
    """Theirs, of random weights, and ours with its weights loaded; both in evaluation mode."""
    import torch
    import transformers
    from detectron2.modeling import build_model

    from d2video.checkpoint import VideoCheckpointer
    from d2video.config import load_cfg

    kind, config = CONFIGS[task]
    cfg = load_cfg(config, ["MODEL.DEVICE", "cpu", *opts])
    ours = build_model(cfg).eval().requires_grad_(False)
    detr, net = cfg.MODEL.DETR, cfg.MODEL.RESNETS
    stem, first = net.STEM_OUT_CHANNELS, net.RES2_OUT_CHANNELS
    torch.manual_seed(0)
    backbone = {
        "model_type": "resnet",
        "embedding_size": stem,
        "hidden_sizes": [first * 2**stage for stage in range(4)],
        "depths": [3, 4, 6, 3],
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }
    sizes: dict[str, Any] = {
        "d_model": detr.HIDDEN_DIM,
        "num_queries": detr.NUM_QUERIES,
        "num_labels": ours.criterion.num_classes,
        "encoder_layers": detr.ENC_LAYERS,
        "decoder_layers": detr.DEC_LAYERS,
        "encoder_ffn_dim": detr.DIM_FEEDFORWARD,
        "decoder_ffn_dim": detr.DIM_FEEDFORWARD,
    }
    theirs = getattr(transformers, kind)(transformers.DetrConfig(backbone_config=backbone, **sizes))
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        VideoCheckpointer(ours, strict=True).load(str(Path(folder, "model.safetensors")))
    return theirs.eval().requires_grad_(False), ours


def side_by_side(theirs: Any, ours: Any, images: Any, rounds: int) -> dict[str, float]:
    """Seconds of both, their ratio, and the largest difference of the boxes (as parts of the image)."""
    import torch

    from d2video.utils.measuring import timed

    def run_ours() -> Any:
        found = ours.network(images, None, all_layers=False)
        if found.masks is None:
            return found
        batch, queries = found.logits.shape[1:3]
        where = torch.arange(batch).repeat_interleave(queries)
        return found, found.masks(where, torch.arange(queries).repeat(batch))

    def run_theirs() -> Any:
        return theirs(pixel_values=images)

    with torch.no_grad():
        found, expected = run_ours(), run_theirs()
        boxes = (found[0] if isinstance(found, tuple) else found).boxes[-1]
        spent = [
            [timed(run, images.device)[1] for run in (run_ours, run_theirs)] for _ in range(rounds)
        ]
    seconds = [statistics.median(column) for column in zip(*spent)]
    return {
        "ours_s": seconds[0],
        "transformers_s": seconds[1],
        "ratio": seconds[0] / seconds[1],
        "box_difference": float((boxes - expected.pred_boxes).abs().max()),
    }


if __name__ == "__main__":
    main()

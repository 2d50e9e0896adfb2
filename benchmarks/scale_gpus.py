"""Estimate a training step on 8 and 64 GPUs from counts; nothing is run on a GPU::

    python -m benchmarks.scale_gpus

Of each system's config: operations of a step, at an assumed share of the peak; bytes of the gradients, and
the time of their ring all-reduce, 2 (n - 1) / n times these bytes over each link at its full speed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

from benchmarks.forward_passes import Size
from benchmarks.scale import count
from d2video.cli.arguments import command_parser

# H200 (and H100 SXM), bfloat16 without sparsity: half of the 1,979 TFLOP/s "with sparsity" in NVIDIA's data
# sheet.
PEAK = 989e12
# GPUs, and bytes a second of the slowest link of the ring, one direction: NVLink 4 has 900 GB/s for both
# directions together; a machine of eight GPUs has a network of 400 Gbit/s for each GPU, or of 100 Gbit/s for
# all of them.
LINKS = {
    "8, NVLink": (8, 450e9),
    "64, 8x400 Gbit/s": (64, 8 * 400e9 / 8),
    "64, 100 Gbit/s": (64, 100e9 / 8),
}


@dataclass(frozen=True)
class Step:
    """A training step.

    Attributes:
        batch: samples a GPU, those of the config on its 8 GPUs (TrackFormer: 7).
        passes: forward passes that it costs: one, and two for the backward pass; one more for a frame
            without gradients.
        sample: its size.
    """

    config: str
    batch: int
    sample: Size
    passes: int = 3


STEPS = (
    Step("VisTR/vistr_R50_ytvis2019", 1, Size(kept=5)),
    Step("DETR/detr_R50_500ep", 8, Size(height=800, width=1066)),
    Step("TrackFormer/trackformer_mot17_private", 2, Size(height=800, width=1333), passes=4),
    Step("VTN/vtn_ViT_B_kinetics400", 2, Size(frames=16, height=224)),
    Step("IPT/ipt_pretrain_imagenet", 32, Size(patches=1)),
)


def estimate(step: Step, utilisation: float) -> dict[str, float | str]:
    """The row of a step.

    Args:
        utilisation: share of the peak that its operations reach, in (0, 1].
    """
    figures = count(step.config, [], step.sample)
    flops = step.passes * step.batch * figures["GFLOP"] * 1e9
    gradients = 4e6 * figures["trained M"]
    return {
        "config": step.config,
        "trained M": figures["trained M"],
        "TFLOP": flops / 1e12,
        "kept GB": step.batch * figures["kept GB"],
        "compute ms": 1e3 * flops / (PEAK * utilisation),
        "gradients MB": gradients / 1e6,
        **{name: 1e3 * all_reduce(gradients, *link) for name, link in LINKS.items()},
    }


def all_reduce(size: float, gpus: int, bandwidth: float) -> float:
    """Seconds."""
    return 2 * (gpus - 1) / gpus * size / bandwidth


def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--utilisation", type=float, default=0.35, help="(default: %(default)s)")
    args = parser.parse_args(argv)
    rows = [estimate(step, args.utilisation) for step in STEPS]
    print(tabulate(rows, "keys", "plain", floatfmt=".3g"))


if __name__ == "__main__":
    main()

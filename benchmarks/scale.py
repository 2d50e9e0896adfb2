"""Count what a model costs as one size grows: the exponents of docs/performance/scale.md.

Sizes may have several values; a row for each::

    python -m benchmarks.scale VisTR/vistr_R50_ytvis2019 --frames 18 36 72

- GFLOP: of the forward pass at inference, two a multiply-add, and the shares of some parts;
- held GB: what the answers of that pass hold, features and mask logits included;
- kept GB: what a forward pass in training keeps for the backward pass, without weights and losses;
- CPU s, with ``--seconds``: of inference on one thread, the median of three rounds that take turns.

The first three are counted on the meta device, without arithmetic, so they are exact. Attention counts as
the fused kernels of GPUs, which do not keep the scores. In a column "^" stands the exponent e of
cost ~ size^e since the row before; for ``--height`` and ``--width``, which grow together, of pixels.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass
from typing import Any

import torch
import torch.nn.functional as F
from tabulate import tabulate
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.forward_passes import PASSES, SIZE_KEYS, Size
from d2video.cli.arguments import add_json, command_parser, not_negative
from d2video.config import load_cfg
from d2video.utils.files import write_json

ROUNDS = 3
_PARTS = ("backbone", "mask_head", "insmask_head")


class FusedAttention(TorchFunctionMode):
    """Attention without a mask by a fused kernel; the meta device takes one that keeps all scores."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and kwargs.get("attn_mask") is None:
            fused = torch.ops.aten._scaled_dot_product_efficient_attention
            return fused(*args[:3], None, True)[0]
        return func(*args, **kwargs)


def build(config: str, opts: Sequence[str], size: Size, device: str) -> tuple[Any, Callable]:
    """The model, with the sizes that its weights are made for, and its forward pass."""
    from detectron2.modeling import build_model

    name = load_cfg(config, opts).MODEL.META_ARCHITECTURE
    keys = SIZE_KEYS.get(name, {}).items()
    sized = [word for key, field in keys for word in (key, getattr(size, field))]
    cfg = load_cfg(config, [*opts, *sized, "MODEL.DEVICE", device])
    return build_model(cfg), PASSES[name]


def count(config: str, opts: Sequence[str], size: Size) -> dict[str, float]:
    """The figures on the meta device, and the millions of trained parameters."""
    model, run = build(config, opts, size, "meta")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    figures = {"trained M": sum(map(Tensor.numel, trained)) / 1e6}
    mapping = {
        torch.ops.torchvision.deform_conv2d: _deform_conv_flops,
        torch.ops.aten.grid_sampler_2d: _grid_sample_flops,
    }
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    shares: dict[str, int] = {}
    hooks = _count_parts(model, counter, shares)
    model.requires_grad_(False)  # else answers hold what a backward pass takes
    with FusedAttention(), counter:
        answers = run(model.eval(), size)
    figures["held GB"] = _bytes(_tensors(answers)) / 1e9
    for hook in hooks:
        hook.remove()
    for parameter in trained:
        parameter.requires_grad_(True)
    # Layers keep views of their weights, too.
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in weights:
            kept.append(tensor)
        return tensor

    with FusedAttention(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run(model.train(), size)
    figures["kept GB"] = _bytes(kept) / 1e9
    figures["GFLOP"] = counter.get_total_flops() / 1e9
    return figures | {part: flops / counter.get_total_flops() for part, flops in shares.items()}


def _count_parts(model: nn.Module, counter: FlopCounterMode, into: dict[str, int]) -> list[Any]:
    """Hooks that add up what the parts of the network count."""
    hooks = []
    for name, module in model.named_modules():
        part = name.rpartition(".")[2]
        if part in _PARTS:

            def start(*_: Any, part: str = part) -> None:
                into[part] = into.get(part, 0) - counter.get_total_flops()

            def end(*_: Any, part: str = part) -> None:
                into[part] += counter.get_total_flops()

            hooks += [module.register_forward_pre_hook(start), module.register_forward_hook(end)]
    return hooks


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Of their storages, each once."""
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def _tensors(value: object) -> Iterator[Tensor]:
    """Those in lists, tuples and data classes."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif is_dataclass(value):
        yield from _tensors([getattr(value, field.name) for field in fields(value)])


def _deform_conv_flops(x: Any, weight: Any, *_: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """As the dense convolution."""
    return 2 * x[0] * x[2] * x[3] * math.prod(weight)


def _grid_sample_flops(*_: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Four pixels of two operations each, and the weighted sum over the points."""
    return 10 * math.prod(out_shape)


def cpu_seconds(config: str, opts: Sequence[str], sizes: Sequence[Size]) -> list[float]:
    """Of inference at each size, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: list[list[float]] = [[] for _ in sizes]
    runs = [build(config, opts, size, "cpu") for size in sizes]
    with torch.no_grad():
        for _ in range(ROUNDS + 1):
            for (model, run), size, spent in zip(runs, sizes, times, strict=True):
                start = time.process_time()
                run(model.eval(), size)
                spent.append(time.process_time() - start)
    torch.set_num_threads(threads)
    return [statistics.median(spent[1:]) for spent in times]  # the first is to warm up


def exponents(values: Sequence[float], costs: Sequence[float]) -> list[float]:
    """Between neighbouring rows, the first of them NaN."""
    growth = [
        math.log(costs[i] / costs[i - 1]) / math.log(values[i] / values[i - 1])
        for i in range(1, len(costs))
    ]
    return [math.nan, *growth]


def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    parser.add_argument("config")
    for field in fields(Size):
        parser.add_argument(
            f"--{field.name}", type=not_negative, nargs="+", default=[field.default]
        )
    parser.add_argument("--seconds", action="store_true", help="time the model on the CPU, too")
    add_json(parser)
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE")
    args = parser.parse_args(argv)
    given = {field.name: getattr(args, field.name) for field in fields(Size)}
    grown = {name: values for name, values in given.items() if len(values) > 1}
    lengths = {len(values) for values in grown.values()} or {1}
    if len(lengths) > 1 or (len(grown) > 1 and set(grown) != {"height", "width"}):
        parser.error("give several values to one size, or as many to --height and --width")
    (rows,) = lengths
    sizes = [
        Size(**{name: values[row % len(values)] for name, values in given.items()})
        for row in range(rows)
    ]
    figures = [count(args.config, args.opts, size) for size in sizes]
    if args.seconds:
        for row, spent in zip(figures, cpu_seconds(args.config, args.opts, sizes), strict=True):
            row["CPU s"] = spent
    if grown:
        values = [math.prod(column) for column in zip(*grown.values(), strict=True)]
        for name in [
            name for name in ("GFLOP", "kept GB", "held GB", "CPU s") if name in figures[0]
        ]:
            for row, power in zip(figures, exponents(values, [row[name] for row in figures])):
                row[f"^ {name}"] = power
    table = [
        {name: getattr(size, name) for name in grown} | row
        for size, row in zip(sizes, figures, strict=True)
    ]
    print(f"{args.config}, {' '.join(args.opts)}")
    print(tabulate(table, "keys", "plain", floatfmt=".4g"))
    if args.json:
        write_json(
            args.json,
            {"config": args.config, "sizes": list(map(asdict, sizes)), "figures": figures},
        )


if __name__ == "__main__":
    main()

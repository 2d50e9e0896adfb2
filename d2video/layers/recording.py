"""Record what attention modules look at, without a change in their ``forward``.

::

    with record_attention(model.network.transformer.decoder) as calls:
        model(inputs)
    last = calls["layers.5.multihead_attn"][-1]
    last.weights(torch.tensor([3, 7]))  # of queries 3 and 7 of the batch's first item

A hook notes each call's queries and keys. Weights are computed for the rows that you ask for, so that no
N×S matrix is built. Outside the context nothing is installed and nothing costs time.

Shapes: B: batch, h: heads, N: queries, S: keys, D: width of a head, R: rows asked for, L: levels, P: points.
"""

import fnmatch
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from d2video.utils.errors import UserError


@dataclass
class DenseAttention:
    """A call of attention of every query over all keys.

    Attributes:
        q: (B, h, N, D).
        k: (B, h, S, D).
        seen: bool, broadcastable to (B, h, N, S), False where a query does not see a key; None: all
            are seen.
    """

    q: Tensor
    k: Tensor
    seen: Tensor | None = None

    def weights(self, rows: Tensor, item: int = 0) -> Tensor:
        """The attention weights of some queries, (h, R, S) float32; each row sums to 1.

        Args:
            rows: (R,) int64, in [0, N).
            item: of the batch.
        """
        q, k = self.q[item][:, rows].float(), self.k[item].float()
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if self.seen is not None:
            seen = self.seen.expand(len(self.q), -1, self.q.shape[2], -1)[item]
            scores = scores.masked_fill(~seen[:, rows], -torch.inf)
        return scores.softmax(-1)


@dataclass
class SampledAttention:
    """A call of deformable attention.

    Attributes:
        locations: (B, N, h, L, P, 2) float32, x and y as parts of the (padded) levels, where [0, 1]
            is inside.
        point_weights: (B, N, h, L, P), over all levels and points of a head they sum to 1.
        sizes: (H_l, W_l) of the levels.
    """

    locations: Tensor
    point_weights: Tensor
    sizes: list[tuple[int, int]]

    def points(self, rows: Tensor, item: int = 0) -> tuple[Tensor, Tensor]:
        """Where some queries sample, (R, h, L, P, 2), and with which weights, (R, h, L, P)."""
        return self.locations[item, rows], self.point_weights[item, rows].float()


AttentionCall = DenseAttention | SampledAttention
Calls = dict[str, list[Any]]
"""The calls of each module, by its name below the recorded one, in the order in which they ran."""


@runtime_checkable
class Recordable(Protocol):
    """An attention module that can say what its call looks at."""

    def recorded(self, *args: Any, **kwargs: Any) -> AttentionCall:
        """What a call of ``forward`` with these arguments looks at."""
        ...


@contextmanager
def record_attention(model: nn.Module, *patterns: str) -> Iterator[Calls]:
    """Record every call of the attention modules in ``model`` within the context.

    Compiled parts run as plain Python meanwhile. Records hold queries and keys, (N + S) times the
    width of memory, until you drop them; clear the lists between the frames of a long video.

    Args:
        model: holds the modules.
        patterns: names below ``model``, such as "decoder.layers.*.multihead_attn"; none: all attention
            modules.

    Raises:
        UserError: no attention module has such a name.
    """
    modules: dict[str, Any] = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Recordable)
        and (not patterns or any(fnmatch.fnmatchcase(name, each) for each in patterns))
    }
    if not modules:
        wanted = f" called {' or '.join(patterns)}" if patterns else ""
        raise UserError(
            f"{type(model).__name__} has no attention{wanted}: choose a model with a transformer"
        )
    calls: Calls = {name: [] for name in modules}

    def note(name: str) -> Any:
        @torch.no_grad()
        def hook(module: Any, args: tuple, kwargs: dict) -> None:
            calls[name].append(module.recorded(*args, **kwargs))

        return hook

    hooks = [
        module.register_forward_pre_hook(note(name), with_kwargs=True)
        for name, module in modules.items()
    ]
    try:
        with torch.compiler.set_stance("force_eager"):
            yield calls
    finally:
        for each in hooks:
            each.remove()

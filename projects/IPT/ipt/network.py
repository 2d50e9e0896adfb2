"""IPT's network: from a degraded patch to a restored one.

Chen et al., Pre-Trained Image Processing Transformer, 2021, section 3.1.

Shapes: B: patches, p: side of a patch, s: scale of the task, C: feature channels, t: side of a
token in pixels, N = (p / t)²: tokens, E = C t²: their width.

Parameters of a task have its name in theirs (``heads.sr_x2.0.weight``, ``body.queries.sr_x2``), so
that a checkpoint says which tasks it holds.
"""

import logging
import math
import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from d2video.projects.ipt.tasks import Task
from torch import Tensor, nn

from d2video.layers import FeedForwardLayer, TransformerDecoderLayer, TransformerEncoderLayer
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)


class ResidualBlock(nn.Module):
    """Two 5x5 convolutions beside the identity, as in EDSR."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 5, padding=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def build_head(channels: int) -> nn.Sequential:
    """(B, 3, p, p) to (B, C, p, p)."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1), ResidualBlock(channels), ResidualBlock(channels)
    )


def build_tail(channels: int, scale: int) -> nn.Sequential:
    """(B, C, p, p) to (B, 3, s p, s p), by convolution and pixel shuffle.

    Raises:
        UserError: the scale is neither a power of two nor three.
    """
    steps = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
    if math.prod(steps) != scale:
        raise UserError(
            f"a task of MODEL.IPT.TASKS has scale {scale}: possible are 3 and powers of two"
        )
    upsampler: list[nn.Module] = []
    for step in steps:
        upsampler += [nn.Conv2d(channels, step**2 * channels, 3, padding=1), nn.PixelShuffle(step)]
    return nn.Sequential(nn.Sequential(*upsampler), nn.Conv2d(channels, 3, 3, padding=1))


class TokenMLP(FeedForwardLayer):
    """The feed-forward block that closes the body, beside the identity."""

    def __init__(self, width: int, hidden: int, dropout: float):
        super().__init__()
        self._init_feed_forward(width, hidden, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(self._feed_forward(x))


class Body(nn.Module):
    """The encoder and the decoder that all tasks share; a task's query, one row for each token,
    tells the decoder what to do.

    Attention has no biases, and neither stack a closing norm. The official code starts all layers of
    a stack with the same weights; here each draws its own.

    Args:
        task_names: for the queries.
        num_tokens: N.
        width: E.
        num_layers: of the encoder and of the decoder each.
        num_heads: attention heads.
        feedforward: hidden width of the feed-forward blocks.
        dropout: probability.
        activation_checkpoint: recompute each layer in the backward pass instead of keeping its
            activations.
    """

    def __init__(
        self,
        task_names: Sequence[str],
        num_tokens: int,
        width: int,
        num_layers: int,
        num_heads: int,
        feedforward: int,
        dropout: float = 0.0,
        activation_checkpoint: bool = False,
    ):
        super().__init__()
        self.activation_checkpoint = activation_checkpoint
        self.linear_encoding = nn.Linear(width, width)
        self.position = nn.Parameter(torch.randn(num_tokens, width))
        self.queries = nn.ParameterDict()
        for name in task_names:  # one by one: a dict would be sorted
            self.queries[name] = nn.Parameter(torch.randn(num_tokens, width))
        sizes: tuple[Any, ...] = (width, num_heads, feedforward, dropout)
        kind = {"pre_norm": True, "attention_bias": False}
        encoder = [TransformerEncoderLayer(*sizes, **kind) for _ in range(num_layers)]
        for layer in encoder:  # the decoder's start from Xavier's distribution
            nn.init.kaiming_uniform_(layer.self_attn.in_proj_weight, a=math.sqrt(5))
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(
            TransformerDecoderLayer(*sizes, **kind) for _ in range(num_layers)
        )
        self.mlp_head = TokenMLP(width, feedforward, dropout)

    def _run(self, layer: nn.Module, *args: Tensor | None) -> Tensor:
        if self.activation_checkpoint and self.training:
            return torch.utils.checkpoint.checkpoint(layer, *args, use_reentrant=False)
        return layer(*args)

    def encode(self, tokens: Tensor) -> Tensor:
        """(B, N, E) to the memory (B, N, E)."""
        x = tokens + self.linear_encoding(tokens) + self.position
        for layer in self.encoder:
            x = self._run(layer, x, None, None)
        return x

    def decode(self, memory: Tensor, task_name: str) -> Tensor:
        """(B, N, E) to (B, N, E); the query is broadcast over the batch."""
        query = self.queries[task_name][None]
        x = memory
        for layer in self.decoder:
            x = self._run(layer, x, query, memory, memory, None)
        return x

    def forward(self, tokens: Tensor, task_name: str) -> Tensor:
        """tokens (B, N, E); returns (B, N, E), what is added to the tokens of the head's output."""
        return self.mlp_head(self.decode(self.encode(tokens), task_name))


class IPTNetwork(nn.Module):
    """A head and a tail for each task around one body.

    Loading takes over the tasks of a state dict that this network has, and drops the others, which
    the log names, as it does tasks that the state dict lacks (an error where ``strict``).

    Args:
        tasks: at least one.
        num_features: C.
        patch_size: p, a multiple of ``token_size``.
        token_size: t.
        num_layers, num_heads, dropout, activation_checkpoint: see :class:`Body`.
        feedforward_ratio: hidden width of the feed-forward blocks over E.
        pixel_mean, pixel_std: 3 values each, of 0..255.
        global_residual: tails give what is added to the input, which is enlarged bicubically where a
            task has a scale (Kim et al., VDSR, 2016). Their last convolutions start at
            zero, so that an untrained network answers with the (enlarged) input.

    Raises:
        UserError: the sizes do not fit together, or a scale is not possible.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        num_features: int = 64,
        patch_size: int = 48,
        token_size: int = 3,
        num_layers: int = 12,
        num_heads: int = 12,
        feedforward_ratio: int = 4,
        dropout: float = 0.0,
        pixel_mean: Sequence[float] = (114.444, 111.4605, 103.02),
        pixel_std: Sequence[float] = (1.0, 1.0, 1.0),
        activation_checkpoint: bool = False,
        global_residual: bool = False,
    ):
        super().__init__()
        if patch_size % token_size:
            raise UserError(
                f"MODEL.IPT.PATCH_SIZE {patch_size} is not a multiple of TOKEN_SIZE {token_size}: "
                "change one of them"
            )
        width = num_features * token_size**2
        if width % num_heads:
            raise UserError(
                f"tokens of {width} numbers (MODEL.IPT.NUM_FEATURES {num_features} x TOKEN_SIZE "
                f"{token_size} squared) cannot be split into {num_heads} heads: change NUM_HEADS"
            )
        self.tasks = tuple(tasks)
        self.patch_size = patch_size
        self.token_size = token_size
        self.width = width
        self.feedforward_ratio = feedforward_ratio
        self.global_residual = global_residual
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("std", torch.tensor(pixel_std).view(-1, 1, 1), False)
        self.heads = nn.ModuleDict({task.name: build_head(num_features) for task in self.tasks})
        self.body = Body(
            [task.name for task in self.tasks],
            (patch_size // token_size) ** 2,
            width,
            num_layers,
            num_heads,
            feedforward_ratio * width,
            dropout,
            activation_checkpoint,
        )
        self.tails = nn.ModuleDict(
            {task.name: build_tail(num_features, task.scale) for task in self.tasks}
        )
        if global_residual:
            for tail in self.tails.values():
                *_, last = tail.children()
                for parameter in last.parameters():
                    nn.init.zeros_(parameter)
        self.register_load_state_dict_pre_hook(_choose_tasks)

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def largest_tensor(self, task: int) -> int:
        """Elements, for each patch, of the largest tensor on the way to the answer for a task."""
        features = self.width * (self.patch_size // self.token_size) ** 2
        # Feature maps of the answer's size, or the hidden layers of the feed-forward blocks.
        return features * max(self.tasks[task].scale ** 2, self.feedforward_ratio)

    def trunk_parameters(self) -> list[nn.Parameter]:
        """Those that all tasks share."""
        return [value for name, value in self.named_parameters() if task_of(name) is None]

    def forward(self, x: Tensor, task: int, query: int | None = None) -> tuple[Tensor, Tensor]:
        """
        Args:
            x: (B, 3, p, p), 0..255.
            task: index in ``tasks``.
            query: that of the task whose query the decoder takes; None: of ``task``.

        Returns:
            (B, 3, s p, s p), about 0..255, neither clamped nor rounded, and the features of the
            contrastive loss (B, N, E).
        """
        assert x.shape[1:] == (3, self.patch_size, self.patch_size), x.shape
        name = self.tasks[task].name
        head = self.heads[name]((x - self.mean) / self.std)
        # The order within a token is channel, row, column, as that of `unfold`.
        tokens = F.pixel_unshuffle(head, self.token_size)
        asked = name if query is None else self.tasks[query].name
        features = self.body(tokens.flatten(2).transpose(1, 2), asked)
        change = features.transpose(1, 2).unflatten(2, tokens.shape[2:])
        output = self.tails[name](head + F.pixel_shuffle(change, self.token_size))
        start = _enlarged(x, self.tasks[task].scale) if self.global_residual else self.mean
        return output * self.std + start, features


def _enlarged(x: Tensor, scale: int) -> Tensor:
    """(B, 3, p, p) to (B, 3, s p, s p), by the bicubic kernel of MATLAB's imresize."""
    if scale == 1:
        return x
    # The kernel without `antialias` is another one (-0.75 in place of -0.5).
    return F.interpolate(x, scale_factor=scale, mode="bicubic", antialias=True)


def task_of(name: str) -> str | None:
    """The task that a parameter of the network belongs to; None for those of the trunk."""
    match = re.match(r"(?:heads|tails|body\.queries)\.([^.]+)", name)
    return match and match[1]


def _choose_tasks(network: IPTNetwork, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Drop the tasks of ``state`` that the network lacks; a hook of ``load_state_dict``, which has
    made ``state`` a copy."""
    names = {n: task_of(n.removeprefix(prefix)) for n in state if n.startswith(prefix)}
    found = dict.fromkeys(task for task in names.values() if task is not None)
    wanted = [task.name for task in network.tasks]
    dropped = [task for task in found if task not in wanted]
    for name, task in names.items():
        if task in dropped:
            del state[name]
    if dropped:
        logger.info("tasks that only the checkpoint has, dropped: %s", ", ".join(dropped))
    fresh = [task for task in wanted if task not in found]
    if fresh and names:
        logger.warning(
            "tasks that the checkpoint lacks, randomly initialised: %s", ", ".join(fresh)
        )

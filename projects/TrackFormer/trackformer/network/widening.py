"""Parameters of a deformable model for a larger one: more frames, queries or channels.

**Frames**: the decoder's attention to one frame becomes attention to F frames, each with the same
offsets and, before the softmax, the same weights; so does the attention of an encoder that sees all
frames. Every frame has the level embedding of the one. Where the previous frames equal the current one
the decoder gets what it got before, where they differ, their mean. Only the positions change: those of
several frames have a third axis.

**Queries**: additional ones are randomly initialised.

**Channels**: the channels are 32 groups, those of the input norms, which are parts of the heads as
well. Each group gets new channels at its end. Old channels ignore the new ones (zero columns), which
are randomly initialised. But norms count all channels and sine positions spread differently, so the
answers change: the result is a starting point for training, not an equivalent model.
"""

from functools import partial

import torch
from detectron2.config import CfgNode
from torch import Tensor

from d2video.checkpoint.convert import Adapter, State
from d2video.layers.level_projections import NORM_GROUPS
from d2video.utils.errors import UserError

_LEVELS = "transformer.level_embed"
_QUERIES = "query_embed.weight"
# Of the decoder's cross-attention, and of the encoder's attention if it sees several frames.
_PER_FRAME = ("_attn.sampling_offsets", "_attn.attention_weights")


def widener(cfg: CfgNode) -> Adapter:
    """:func:`widen` for the model of ``cfg``.

    Raises:
        UserError: the model is not a deformable one, or the groups cannot be parts of its heads.
    """
    node = cfg.MODEL.TRACKFORMER
    if not node.DEFORMABLE.ENABLED:
        raise UserError(
            "--widen is for models with MODEL.TRACKFORMER.DEFORMABLE.ENABLED True: set the sizes in "
            "the config to those of the file"
        )
    if NORM_GROUPS % node.NUM_HEADS:
        raise UserError(
            f"--widen needs a number of heads that divides {NORM_GROUPS}: "
            f"MODEL.TRACKFORMER.NUM_HEADS is {node.NUM_HEADS}"
        )
    return partial(widen, num_heads=node.NUM_HEADS, num_levels=node.DEFORMABLE.NUM_LEVELS)


def widen(
    state: State, model: State, *, num_heads: int, num_levels: int
) -> tuple[State, list[str]]:
    """Enlarge what can be enlarged; see :data:`d2video.checkpoint.convert.Adapter`.

    Args:
        state, model: under official names or ours; ``model`` gives the values of what is new.
        num_heads, num_levels: of both models, levels of one frame.
    """
    prefix = "network." if f"network.{_LEVELS}" in model else ""
    if prefix + _LEVELS not in state:
        return state, []  # no deformable model
    old_levels, old_width = state[prefix + _LEVELS].shape
    levels, width = model[prefix + _LEVELS].shape
    frames = levels // num_levels if old_levels == num_levels else 1

    enlarged, done = dict(state), dict[str, list[str]]()
    for name, target in model.items():
        value = state.get(name)
        if value is None or value.shape == target.shape or value.dim() != target.dim():
            continue
        part, how = name.removeprefix(prefix), []
        larger = value
        per_frame = part == _LEVELS or any(names in part for names in _PER_FRAME)
        if frames > 1 and per_frame and len(target) != len(value):
            heads = 1 if part == _LEVELS else num_heads
            larger = _repeat(value, heads, frames)
            how.append("every frame like the one")
        if part == _QUERIES and len(target) > len(value):
            how.append(f"queries {len(value)} to {len(target) - 1} anew")
        old, new = (shape[part == _QUERIES :] for shape in (larger.shape, target.shape))
        if old != new:
            how.append("old channels in their groups, new channels anew")
        larger = _embed(larger, target, part, old_width, width)
        if larger.shape == target.shape:
            enlarged[name] = larger
            sizes = f"{tuple(value.shape)} -> {tuple(target.shape)}"
            done.setdefault(f"enlarged {sizes}, {', '.join(how)}", []).append(name)
    return enlarged, [f"{len(names)} {how}: {', '.join(names)}" for how, names in done.items()]


def _repeat(value: Tensor, heads: int, frames: int) -> Tensor:
    """Rows (heads, levels, ...), flat, to (heads, frames, levels, ...), flat."""
    rows = value.unflatten(0, (heads, 1, -1))
    return rows.expand(-1, frames, *rows.shape[2:]).flatten(0, 2)


def _embed(value: Tensor, target: Tensor, part: str, old_width: int, width: int) -> Tensor:
    """``value`` at its place in ``target``, or as it is where that place is not known."""
    rows, *columns = (
        _places(old, new, old_width, width, part == _QUERIES and axis == 0)
        for axis, (old, new) in enumerate(zip(value.shape[:2], target.shape[:2]))
    )
    if value.shape[2:] != target.shape[2:] or rows is None or None in columns:
        return value
    embedded = target.clone()
    if not columns:
        embedded[rows] = value.to(embedded.dtype)
        return embedded
    if part not in (_LEVELS, _QUERIES):  # columns of these are no inputs
        embedded[rows] = 0.0
    embedded[rows[:, None], columns[0]] = value.to(embedded.dtype)
    return embedded


def _places(old: int, new: int, old_width: int, width: int, any_more: bool) -> Tensor | None:
    """Where each of ``old`` indices of an axis lies among ``new``; None: not known."""
    index = torch.arange(old)
    if old == new or (any_more and old < new):
        return index
    size, new_size = old_width // NORM_GROUPS, width // NORM_GROUPS
    if old % old_width or width < old_width or new * old_width != old * width:
        return None
    return index // size * new_size + index % size

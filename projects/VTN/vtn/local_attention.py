"""Attention of a sequence within a sliding window, plus one token that everybody sees.

The pattern of Longformer (Beltagy et al., 2020, section 3.1) for a sequence with one global token.

Shapes: B: batch, h: heads, N: tokens of the sequence (without the global one), D: width of a head,
r: radius of the window, b: queries in a block, K: blocks, S = 1 + b + 2r: keys that a block reads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Queries in a block of the banded form (r, if that is more). Of 32, 64 and 128, measured as below with
# r = 9, no other was faster forward by more than 3 %; with the backward pass 32 was, by up to 14 %.
BLOCK = 64
# The dense form is taken up to N = DENSE_TOKENS + DENSE_PER_KEY S. Measured on one CPU core (float32,
# 12 heads of 64), the banded form becomes the faster one forward between an N of 256 and 384 for r = 9
# (with the backward pass between 192 and 256), at 384 for r = 64, between 1,024 and 1,536 for r = 256.
DENSE_TOKENS = 128
DENSE_PER_KEY = 1.5


def local_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    radius: int,
    global_k: Tensor,
    global_v: Tensor,
    padding: Tensor | None = None,
    dropout: float = 0.0,
    banded: bool | None = None,
) -> Tensor:
    """Each token attends to the tokens at most ``radius`` away, itself among them, and to the global one.

    One softmax over all of these, scaled by 1/sqrt(D). What the global token itself attends to is
    not computed here. Differentiable in every tensor but ``padding``.

    Args:
        q, k, v: (B, h, N, D).
        radius: r >= 0; Longformer's window of w is a radius of w / 2.
        global_k, global_v: (B, h, 1, D), what the others see of the global token.
        padding: (B, N) bool, True = no token: seen by nobody, and its own result is 0.
        dropout: probability on the attention weights.
        banded: the form of the computation, which changes nothing but rounding: True: blocks of
            neighbouring queries, time and memory linear in N; False: all N×N scores under a mask;
            None: the faster of the two.

    Returns:
        (B, h, N, D).
    """
    if torch.compiler.is_exporting():  # the length is not known, and the mask serves any
        banded = False
    if banded is None:
        keys = 1 + max(BLOCK, radius) + 2 * radius
        banded = q.shape[2] > DENSE_TOKENS + DENSE_PER_KEY * keys
    attend = _banded if banded else _dense
    attended = attend(q, k, v, radius, global_k, global_v, padding, dropout)
    if padding is not None:
        attended = attended.masked_fill(padding[:, None, :, None], 0)
    return attended


def _dense(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    radius: int,
    global_k: Tensor,
    global_v: Tensor,
    padding: Tensor | None,
    dropout: float,
) -> Tensor:
    """Every query against every key; the global one comes first."""
    length = q.shape[2]
    visible = None
    if torch.compiler.is_exporting() or radius < length - 1:
        place = torch.arange(length, device=q.device)
        visible = F.pad((place[:, None] - place).abs() <= radius, (1, 0), value=True)
    if padding is not None:
        present = F.pad(~padding, (1, 0), value=True)[:, None, None]
        # The mask may not be a mere row of keys: some kernels take only N rows.
        visible = present.expand(-1, -1, length, -1) if visible is None else visible & present
    return F.scaled_dot_product_attention(
        q, torch.cat([global_k, k], 2), torch.cat([global_v, v], 2), visible, dropout
    )


def _banded(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    radius: int,
    global_k: Tensor,
    global_v: Tensor,
    padding: Tensor | None,
    dropout: float,
) -> Tensor:
    """Every block of b queries against the keys that one of them may see: those of the block and r
    more on each side. The blocks of the whole batch go through one call of the kernel."""
    batch, heads, length, _ = q.shape
    block = max(BLOCK, radius)  # >= r: a block's keys lie in it and in its two neighbours
    num_blocks = -(-length // block)
    missing = num_blocks * block - length

    def blocks(x: Tensor) -> Tensor:
        """(B, h, N, D) to (B, K, b, h, D); heads come last, as the projections laid them out."""
        return F.pad(x.transpose(1, 2), (0, 0, 0, 0, 0, missing)).unflatten(1, (-1, block))

    def keys(x: Tensor, global_x: Tensor) -> Tensor:
        """(B, h, N, D) and (B, h, 1, D) to (B K, h, S, D)."""
        x = with_neighbours(blocks(x), radius)
        global_x = global_x.transpose(1, 2)[:, None].expand(-1, num_blocks, -1, -1, -1)
        return torch.cat([global_x, x], 2).flatten(0, 1).transpose(1, 2)

    present = q.new_ones(1, length, dtype=torch.bool) if padding is None else ~padding
    present = F.pad(present, (0, missing)).unflatten(1, (-1, block))
    present = with_neighbours(present, radius)[:, :, None]  # (B or 1, K, 1, b + 2r)
    # Within a block's keys, query i stands at i + r.
    from_key = torch.arange(block + 2 * radius, device=q.device)
    from_query = torch.arange(block, device=q.device)[:, None] + radius
    visible = ((from_key - from_query).abs() <= radius) & present
    # Always visible: the global token, hence no row is without a key.
    visible = F.pad(visible, (1, 0), value=True).expand(batch, -1, -1, -1).flatten(0, 1)[:, None]

    attended = F.scaled_dot_product_attention(
        blocks(q).flatten(0, 1).transpose(1, 2),
        keys(k, global_k),
        keys(v, global_v),
        visible,
        dropout,
    )
    attended = attended.transpose(1, 2).reshape(batch, num_blocks * block, heads, -1)
    return attended[:, :length].transpose(1, 2)


def with_neighbours(blocks: Tensor, radius: int) -> Tensor:
    """Widen each block by the ``radius`` entries before and after it, with zeros at the two ends.

    Args:
        blocks: (B, K, b, ...), b >= radius.

    Returns:
        (B, K, radius + b + radius, ...).
    """
    nothing = blocks.new_zeros(blocks.shape[0], 1, radius, *blocks.shape[3:])
    before = torch.cat([nothing, blocks[:, :-1, blocks.shape[2] - radius :]], 1)
    after = torch.cat([blocks[:, 1:, :radius], nothing], 1)
    return torch.cat([before, blocks, after], 2)

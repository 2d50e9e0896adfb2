"""Where the runs of masks begin, found from mask logits without the masks.

A mask is what of the bilinearly resized logits is above 0. Between four neighbouring logits of one sign
all pixels are alike, so that only those along the outlines are worked out, on the device of the logits.

Shapes: N: masks, h×w: logits, H×W: masks, M: cells that an outline crosses, X and Y: most columns and rows of
pixels in a cell. A cell lies between four neighbouring logits. Beyond the outermost logits are cells, too,
hence (h+1)×(w+1) of them; there the logits go on unchanged.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from d2video.formats.geometry.mask_runs import MaskRuns, runs_of_masks

# Logits that are looked at together.
_BATCH_LOGITS = 2**20
# Of the largest logit around a pixel: more than six roundings of float32 (3.6e-7), three here and three in
# torch's resizing, which may round in another order.
_ROUNDING = 4e-7


def resized_masks(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, h, w) to (N, H, W) bool: logits resized (bilinear), above 0."""
    return F.interpolate(logits[:, None].float(), size=size, mode="bilinear")[:, 0] > 0


@torch.no_grad()
def runs_of_logits(logits: Tensor, size: tuple[int, int]) -> MaskRuns:
    """The runs of :func:`resized_masks`, equal to the pixel.

    Args:
        logits: (N, h, w), finite, on any device. The host gets only the runs.
        size: (H, W).
    """
    pixels = size[0] * size[1]
    batch = max(_BATCH_LOGITS // max(logits.shape[1:].numel(), 1), 1)
    places, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for first in range(0, len(logits), batch):
        starts, per_mask = _runs(logits[first : first + batch], size)
        places.append(starts + first * pixels)
        counts.append(per_mask)
    return MaskRuns(np.concatenate(places), np.concatenate(counts), size)


class _Axis(NamedTuple):
    """The pixels of one axis in its n cells.

    Attributes:
        first: (n,) the first pixel of each cell.
        counts: (n,) pixels in each cell, 1 or more.
        low, high: (n, most) weights of the cell's two logits at its pixels; the last pixel fills up.
    """

    first: Tensor
    counts: Tensor
    low: Tensor
    high: Tensor


@lru_cache(maxsize=16)
def _axis(logits: int, pixels: int, device: torch.device) -> _Axis | None:
    """None if there are cells without a pixel."""
    # The weights that the resizing itself uses, to the last bit: (pixels, logits).
    units = torch.eye(logits, device=device)[:, None, None]
    weights = F.interpolate(units, size=(1, pixels), mode="bilinear")[:, 0, 0].t()
    index = (weights > 0).byte().argmax(1)[:, None]
    low, high = weights.gather(1, index)[:, 0], F.pad(weights, (0, 1)).gather(1, index + 1)[:, 0]
    cell = index[:, 0] + 1
    cell[(cell == 1) & (high == 0)] = 0
    counts = torch.bincount(cell, minlength=logits + 1)
    if not counts.all():
        return None
    first = counts.cumsum(0) - counts
    most = torch.arange(int(counts.max()), device=device)
    place = first[:, None] + torch.minimum(most, counts[:, None] - 1)
    return _Axis(first, counts, low[place], high[place])


def _runs(logits: Tensor, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """``starts`` and ``per_mask`` of a few masks."""
    count, h, w = logits.shape
    height, width = size
    pixels = height * width
    rows, columns = (_axis(n, full, logits.device) for n, full in ((h, height), (w, width)))
    if rows is None or columns is None:
        runs = runs_of_masks(resized_masks(logits, size).cpu().numpy())
        return runs.starts, runs.per_mask
    padded = F.pad(logits.float()[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    above = padded > 0
    some, every = above[:, :-1] | above[:, 1:], above[:, :-1] & above[:, 1:]
    some, every = some[..., :-1] | some[..., 1:], every[..., :-1] & every[..., 1:]
    crossed = some & ~every
    # Every column begins and ends with background, for now.
    crossed[:, 0] |= some[:, 0]
    crossed[:, -1] |= some[:, -1]
    number = _places(crossed)  # (M,), ascending
    row, j = _divided(number, w + 1)
    mask, i = _divided(row, h + 1)

    corner = (mask * (h + 2) + i) * (w + 2) + j
    around = torch.arange(2, device=corner.device)
    around = (around[:, None] * (w + 2) + around).flatten()
    corners = padded.flatten()[corner[:, None] + around]
    p00, p01, p10, p11 = corners.split(1, 1)
    low, high = columns.low[j], columns.high[j]
    top, bottom = low * p00 + high * p01, low * p10 + high * p11  # (M, X)
    low, high = rows.low[i][:, None], rows.high[i][:, None]
    values = (low * top[..., None]).addcmul_(high, bottom[..., None])  # (M, X, Y)
    inside = values > 0
    rounding = _ROUNDING * corners.abs().amax(1)
    doubtful = values.abs_().flatten(1).amin(1) <= rounding

    # The pixel above a cell's is the last one of the crossed cell there, or has the sign of the corner
    # between them. What changes between two such cells is counted at the lower one.
    signs, crossed = above.flatten(), F.pad(crossed.flatten(), (w + 1, w + 1))
    has_before, has_after = crossed[number], crossed[number + 2 * (w + 1)]
    # The cells that have one above are in the order of those that have one below.
    before = torch.searchsorted(has_after.cumsum(0), has_before.cumsum(0))
    before = before.clamp(max=max(len(number) - 1, 0))
    edge_above = torch.where(has_before[:, None], inside[before, :, -1], signs[corner, None])
    edge_below = torch.where(has_after[:, None], inside[..., -1], signs[corner + w + 2, None])
    edge_above &= (i > 0)[:, None]
    edge_below &= (i < h)[:, None]
    across, deep = inside.shape[1:]
    changes = inside.new_empty(len(number), across, deep + 1)
    torch.ne(inside[..., 1:], inside[..., :-1], out=changes[..., 1:-1])
    torch.ne(inside[..., 0], edge_above, out=changes[..., 0])
    torch.ne(inside[..., -1], edge_below, out=changes[..., -1])
    found = _places(changes)
    column, y = _divided(found, deep + 1)
    m, x = _divided(column, across)
    base = mask * (pixels + 1) + columns.first[j] * height + rows.first[i]
    # The last place is the first pixel of the cell below.
    y = torch.where(y < deep, y, rows.counts[i][m])
    places = base[m] + x * height + y
    nowhere = count * (pixels + 1)
    places = torch.where(x < columns.counts[j][m], places, nowhere)
    # One transfer to the host.
    numbers = torch.cat([places, torch.where(doubtful, mask, -1)]).cpu().numpy()
    starts, unsure = np.split(numbers, [len(places)])

    starts.sort()
    # Where one run ends and the next begins at once, in the next column, they are one.
    meet = np.flatnonzero(starts[1:] == starts[:-1])
    kept = np.ones(len(starts), bool)
    kept[meet] = kept[meet + 1] = False
    starts = starts[kept]
    owner, place = np.divmod(starts, pixels + 1)
    within = (place < pixels) & (owner < count)
    owner, place = owner[within], place[within]
    unsure = np.unique(unsure[unsure >= 0])
    if len(unsure):
        part = logits[torch.from_numpy(unsure).to(logits.device)]
        again = runs_of_masks(resized_masks(part, size).cpu().numpy())
        sure = ~np.isin(owner, unsure)
        which, where = np.divmod(again.starts, pixels)
        owner = np.concatenate([owner[sure], unsure[which]])
        order = np.argsort(owner, kind="stable")
        owner, place = owner[order], np.concatenate([place[sure], where])[order]
    return owner * pixels + place, np.bincount(owner, minlength=count)


def _places(flags: Tensor) -> Tensor:
    """Where a tensor is True, ascending, as numbers in its flat form."""
    if flags.device.type == "cpu":  # several times as fast as torch's
        return torch.from_numpy(np.flatnonzero(flags.numpy()))
    return flags.flatten().nonzero()[:, 0]


def _divided(numbers: Tensor, by: int) -> tuple[Tensor, Tensor]:
    """Quotients and remainders of numbers from 0 on."""
    quotients = numbers.div(by, rounding_mode="floor")
    return quotients, numbers - quotients * by

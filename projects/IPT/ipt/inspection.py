"""IPT's inside on one image: which patches are alike, and what the task query changes.

Shapes: B: patches of the image, p: side of a patch, t: side of a token, N = (p / t)²: tokens of a patch,
E: their width, s: scale of the task, h×w: the image.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from d2video.projects.ipt.ipt import IPT
from d2video.projects.ipt.network import IPTNetwork
from d2video.projects.ipt.tiling import Tiling
from d2video.projects.ipt.whole_images import restore
from torch import Tensor

from d2video.inspection import Look, sections, shown
from d2video.inspection.drawing import heat, mark, sheet
from d2video.inspection.matrix import matrix
from d2video.modeling.pixels import rows_at_once
from d2video.report import Section, Table
from d2video.utils.errors import UserError

_POINTS = ((0.25, 0.25), (0.5, 0.5), (0.75, 0.75))  # unless --points names some
_MOST_PATCHES = 1000
_SIDE = 240  # of a patch on the page, in pixels


@dataclass
class PatchFeatures:
    """The features of the contrastive loss, of all patches of an image.

    Attributes:
        unit: (B, N, E) float32, of norm 1; patches row by row, and tokens in a patch.
        rows, columns: the first pixels of the patches along the two axes.
        tiling: of the patches.
        size: (h, w).
    """

    unit: Tensor
    rows: list[int]
    columns: list[int]
    tiling: Tiling
    size: tuple[int, int]

    def place(self, x: float, y: float) -> tuple[int, int]:
        """The patch whose centre is nearest to a pixel of the image, and the pixel's token in it."""
        side, patch = round(self.unit.shape[1] ** 0.5), self.tiling.patch_size

        def nearest(starts: list[int], pixel: float) -> tuple[int, int]:
            index = min(range(len(starts)), key=lambda i: abs(starts[i] + patch / 2 - pixel))
            return index, int((pixel - starts[index]) * side / patch)

        (row, above), (column, left) = nearest(self.rows, y), nearest(self.columns, x)
        return row * len(self.columns) + column, above * side + left

    def of_tokens(self, patch: int) -> Tensor:
        """Cosine similarities (N, N) of the tokens of a patch."""
        return self.unit[patch] @ self.unit[patch].T

    def of_patches(self) -> Tensor:
        """(B, B): the mean cosine similarity of the tokens of two patches."""
        mean = self.unit.mean(1)  # a mean of dot products is the dot product of the means
        return mean @ mean.T

    def over_image(self, patch: int, token: int) -> Tensor:
        """Cosine similarities (h, w) of a token and those of all pixels; where patches overlap they
        are blended as the restored image is."""
        waiting = iter(self.unit)
        wanted = self.unit[patch, token]
        side = round(self.unit.shape[1] ** 0.5)

        def similarity(patches: Tensor) -> Tensor:
            maps = torch.stack([next(waiting) @ wanted for _ in patches]).unflatten(1, (side, side))
            return F.interpolate(maps[:, None], patches.shape[-2:]).expand_as(patches)

        image = self.unit.new_zeros(3, *self.size)
        return restore(similarity, [image], tiling=self.tiling, scale=1)[0][0]


class QueryChange(NamedTuple):
    """What the query of another task makes of a patch.

    Attributes:
        restored: (3, s p, s p), by the head and the tail of the patch's task and the other's query.
        change: norm of the change of the body's output, over the norm of that output.
        other: (3, s p, s p), by head, query and tail of the other task; None if its scale is another.
    """

    restored: Tensor
    change: float
    other: Tensor | None


def patch_features(
    network: IPTNetwork, image: Tensor, task: int, tiling: Tiling | None = None
) -> PatchFeatures:
    """The features of all patches of an image.

    Args:
        image: float (3, h, w), 0..255, on the device of the network.
        task: index in the network's tasks.
        tiling: None: the default of :class:`.tiling.Tiling`.

    Raises:
        UserError: the image has more than 1,000 patches, or the tiling refuses it.
    """
    tiling = tiling or Tiling(network.patch_size)
    whole, p = tiling.extended(image), tiling.patch_size
    rows, columns = (tiling.axis(size, 1).starts for size in whole.shape[1:])
    if len(rows) * len(columns) > _MOST_PATCHES:
        height, width = image.shape[1:]
        raise UserError(
            f"an image of {width}x{height} pixels has {len(rows) * len(columns)} patches of {p}: cut out "
            f"a part of it with {_MOST_PATCHES} or fewer"
        )
    patches = torch.stack([whole[:, y : y + p, x : x + p] for y in rows for x in columns])
    parts = patches.split(rows_at_once(network.largest_tensor(task), network.device))
    features = torch.cat([network(part, task)[1].float() for part in parts])
    return PatchFeatures(
        F.normalize(features, dim=2), rows, columns, tiling, (image.shape[1], image.shape[2])
    )


def query_changes(network: IPTNetwork, patch: Tensor, task: int) -> dict[str, QueryChange]:
    """What the query of each task makes of a patch.

    Args:
        patch: float (3, p, p), 0..255.
        task: index in the network's tasks, of the patch.

    Returns:
        by the name of the task, its own first, in which nothing changes.
    """
    own, features = network(patch[None], task)
    changes = {network.tasks[task].name: QueryChange(own[0], 0.0, own[0])}
    for index, other in enumerate(network.tasks):
        if index == task:
            continue
        restored, changed = network(patch[None], task, query=index)
        whole = None
        if other.scale == network.tasks[task].scale:
            whole = network(patch[None], index)[0][0]
        norm = float((changed - features).norm() / features.norm())
        changes[other.name] = QueryChange(restored[0], norm, whole)
    return changes


@sections.register
def inspect_ipt(model: IPT, look: Look) -> Iterator[Section]:
    """The page of IPT; see :mod:`d2video.inspection`."""
    look.takes("points")
    task = model.task_of({})
    (frame,) = look.frames(1)
    image = look.inputs([frame])[0].to(model.device).float()
    height, width = frame.shape[:2]
    where = [*look.points] or [(x * width, y * height) for x, y in _POINTS]
    features = patch_features(model.network, image, task, model.tiling)
    yield _similarity_section(model, look, features, frame, where)
    if len(model.network.tasks) == 1:
        note = "The model has one task, and no other query to compare."
        yield Section("What the task query changes", [note])
        return
    places = dict.fromkeys(features.place(x, y)[0] for x, y in where)
    yield _query_section(model.network, look, features, image, task, list(places))


def _similarity_section(
    model: IPT,
    look: Look,
    features: PatchFeatures,
    frame: np.ndarray,
    where: Sequence[tuple[float, float]],
) -> Section:
    picture = shown(frame)
    height, width = frame.shape[:2]
    media = []
    for number, (x, y) in enumerate(where):
        similar = features.over_image(*features.place(x, y))
        low, high = float(similar.min()), float(similar.max())
        drawn = mark(heat(picture, similar - low, high - low), (x / width, y / height))
        caption = f"to the token at {x:.0f},{y:.0f}: dark is {low:.2f}, bright {high:.2f}"
        media.append(look.media(f"similarity_{number}", drawn, caption))
    for patch in dict.fromkeys(features.place(x, y)[0] for x, y in where):
        drawn = matrix(features.of_tokens(patch), "token", "token")
        media.append(look.media(f"tokens_patch{patch}", drawn, f"tokens of patch {patch}"))
    patches = features.of_patches()
    between = patches.masked_select(~torch.eye(len(patches), dtype=torch.bool).to(patches.device))
    if len(between):
        drawn = matrix(patches, "patch", "patch")
        media.append(look.media("patches", drawn, "patches of the image, mean over their tokens"))
    rows: list[list[str | float | None]] = [
        ["of one patch", float(patches.diagonal().mean())],
        ["of two patches", float(between.mean()) if len(between) else None],
    ]
    table = Table("mean similarity of tokens", ["tokens", "cosine"], rows, decimals=3)
    name = model.network.tasks[model.task_of({})].name
    trained = (
        f"weight {model.contrastive_weight:g} in this model"
        if model.contrastive_weight
        else "not used in this model's training"
    )
    note = (
        f"Cosine similarity of the features of the contrastive loss ({trained}), by the task {name}. "
        "In training it draws the tokens of a patch together, and those of other images' patches apart. "
        f"Here all {len(patches)} patches are of one image, {len(features.columns)} in a row."
    )
    return Section("Similarity of patches", [note], media, [table])


def _query_section(
    network: IPTNetwork,
    look: Look,
    features: PatchFeatures,
    image: Tensor,
    task: int,
    patches: list[int],
) -> Section:
    whole, p = features.tiling.extended(image), features.tiling.patch_size
    own_name = network.tasks[task].name
    media = []
    rows: list[list[str | float | None]] = []
    for patch in patches:
        row, column = divmod(patch, len(features.columns))
        y, x = features.rows[row], features.columns[column]
        pixels = whole[:, y : y + p, x : x + p]
        changes = query_changes(network, pixels, task)
        own = changes[own_name].restored
        cells, titles = [_picture(pixels), _picture(own)], ["input", own_name]
        for name, change in changes.items():
            if name == own_name:
                continue
            errors: list[float | None] = []
            for kind, answer in (("query of", change.restored), ("task", change.other)):
                if answer is None:
                    errors.append(None)
                    continue
                difference = (answer - own).abs().mean(0)
                errors.append(float(difference.mean()))
                cells += [_picture(answer), heat(_picture(own), difference)]
                titles += [f"{kind} {name}", f"change, up to {float(difference.max()):.0f}"]
            rows.append([str(patch), name, 100 * change.change, *errors])
        drawn = sheet(cells, titles, 4)
        caption = f"patch {patch}, from {x},{y}: input, restored by {own_name}, and by others"
        media.append(look.media(f"queries_patch{patch}", drawn, caption, wide=True))
    header = ["patch", "task", "features, query (%)", "image, query", "image, task"]
    caption = f"mean change against {own_name}: of features, and of the image in grey levels"
    tables = [Table(caption, header, rows, decimals=2)]
    note = (
        f"The same patch restored by {own_name}, then with the query of each other task in the decoder: "
        f"head and tail are still those of {own_name}. If the scales are equal, the other task as a whole "
        "also restores it. Beside each answer is its absolute difference, in grey levels of 255, mean "
        "over the channels. The change of features is the norm of the change of the body's output, over "
        "the norm of that output."
    )
    return Section("What the task query changes", [note], media, tables)


def _picture(pixels: Tensor) -> np.ndarray:
    """A patch, (3, p, p), about 0..255, as the page shows it."""
    array = pixels.clamp(0, 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return cv2.resize(array, (_SIDE, _SIDE), interpolation=cv2.INTER_NEAREST)

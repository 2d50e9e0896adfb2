"""A training and a held-out part of an annotated file in YouTube-VIS format, by video."""

import os
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from d2video.utils.errors import UserError


def choose_held_out(videos: list[dict[str, Any]], fraction: float, seed: int) -> set[int]:
    """Ids of the videos to hold out.

    Videos that share a frame file or a folder of frames (below the image root) are clips of the
    same footage and stay together, so that nothing in the held-out part was trained on.

    Args:
        videos: of a YouTube-VIS file, with ``id`` and ``file_names``.
        fraction: of the videos, between 0 and 1; the result holds at least this share, by less than
            one group of related videos more, and never all.
        seed: of the choice.

    Raises:
        UserError: all videos belong together.
    """
    group = _groups_of_related(videos)
    groups, sizes = np.unique(group, return_counts=True)
    if len(groups) < 2:
        raise UserError("all videos share frames or one folder: there is nothing to split by")
    order = np.random.default_rng(seed).permutation(len(groups))
    enough = int(np.searchsorted(np.cumsum(sizes[order]), fraction * len(videos))) + 1
    chosen = groups[order[: min(enough, len(groups) - 1)]]
    return {videos[i]["id"] for i in np.flatnonzero(np.isin(group, chosen))}


def _groups_of_related(videos: list[dict[str, Any]]) -> np.ndarray:
    """(V,) number of the connected component of each video in the graph video - shared path."""
    number: dict[str, int] = {}
    edges = []
    for i, video in enumerate(videos):
        paths = set(video["file_names"]) | {os.path.dirname(f) for f in video["file_names"]} - {""}
        edges += [(i, number.setdefault(path, len(videos) + len(number))) for path in paths]
    rows, columns = np.array(edges).T
    size = len(videos) + len(number)
    graph = coo_array((np.ones(len(edges), bool), (rows, columns)), shape=(size, size))
    return connected_components(graph, directed=False)[1][: len(videos)]


def split(content: dict[str, Any], held_out: set[int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(training part, held-out part) of a YouTube-VIS file's content; other keys go to both."""

    def part(kept: bool) -> dict[str, Any]:
        videos = [v for v in content["videos"] if (v["id"] in held_out) == kept]
        annotations = [a for a in content["annotations"] if (a["video_id"] in held_out) == kept]
        return content | {"videos": videos, "annotations": annotations}

    return part(False), part(True)

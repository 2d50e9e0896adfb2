"""Split an annotated file in YouTube-VIS format into a training and a held-out part, by video.

The official validation and test labels are not public; this makes a labelled split of one's own::

    tools/split_ytvis.py datasets/ytvis_2019/train.json --fraction 0.1 --seed 0 \\
        --train-output datasets/ytvis_2019/train_90.json --held-out datasets/ytvis_2019/held_10.json

Frames stay where they are: register both files with the same image folder.
"""

import argparse
import json
import os
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from d2video.data.datasets.ytvis import load_ytvis_json
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.files import replace_on_success


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
        UserError: all videos belong together, or the fraction is out of range.
    """
    if not 0 < fraction < 1:
        raise UserError(f"--fraction is {fraction}: it must lie between 0 and 1")
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

    def part(in_held_out: bool) -> dict[str, Any]:
        return content | {
            "videos": [v for v in content["videos"] if (v["id"] in held_out) == in_held_out],
            "annotations": [
                a for a in content["annotations"] if (a["video_id"] in held_out) == in_held_out
            ],
        }

    return part(False), part(True)


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json_file", help="annotated file in YouTube-VIS format")
    parser.add_argument("--train-output", required=True, help="file to write the training part to")
    parser.add_argument("--held-out", required=True, help="file to write the held-out part to")
    parser.add_argument("--fraction", type=float, default=0.1, help="share of videos to hold out")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of videos")
    args = parser.parse_args(argv)

    paths = [os.path.realpath(p) for p in (args.json_file, args.train_output, args.held_out)]
    if len(set(paths)) < 3:
        raise UserError("the input and the two outputs must be three different files")
    if "annotations" not in load_ytvis_json(args.json_file, image_root="")[0]:
        raise UserError(f"{args.json_file} has no annotations: split an annotated file")
    with open(args.json_file, encoding="utf-8") as file:
        content = json.load(file)

    parts = split(content, choose_held_out(content["videos"], args.fraction, args.seed))
    # Both outputs appear only after both are complete.
    with (
        replace_on_success(args.train_output) as train_file,
        replace_on_success(args.held_out) as held_out_file,
    ):
        for part, path in zip(parts, (train_file, held_out_file), strict=True):
            path.write_text(json.dumps(part), encoding="utf-8")
    for part, path in zip(parts, (args.train_output, args.held_out), strict=True):
        classes = {a["category_id"] for a in part["annotations"]}
        print(
            f"{path}: {len(part['videos'])} videos, {len(part['annotations'])} tracks of "
            f"{len(classes)} of {len(part['categories'])} classes"
        )

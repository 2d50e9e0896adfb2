"""Which records of a dataset to hold out of training."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from d2video.data.records import Record, frames_of, object_classes
from d2video.formats.roboflow import origin
from d2video.utils.errors import UserError
from d2video.video.frame_names import split_frame_name

# A path without suffix: up to the last number in the file's name, this, and what follows.
_NUMBERED = re.compile(r"(.*?)(\d{1,15})([^\d/]*)")
# The copies of MOT17's sequences, which differ in their detections.
_MOT17_COPY = re.compile(r"(MOT17-\d+)-(?:DPM|FRCNN|SDP)")


def choose_held_out(
    records: Sequence[Record],
    fraction: float,
    seed: int,
    *,
    image_root: str | None = None,
    balance_classes: bool = False,
) -> np.ndarray:
    """Which records to hold out, (N,) bool: a part of them, and never all or none.

    Records of the same footage stay together, so that nothing in the held-out part was trained on:
    videos with a frame file, a folder of frames (below the image root) or a video file in common, the
    copies of a sequence in MOT17, and Roboflow's images of one video or one original.

    Args:
        records: labelled, of one dataset.
        fraction: of the records, between 0 and 1; the result holds at least this share, by less than
            one group of related records more.
        seed: of the choice.
        image_root: the folder that says nothing of what belongs together; None: the one that all
            frames share.
        balance_classes: choose by iterative stratification (Sechidis et al. 2011), so that the part
            held out of the tracks (of images, objects) of every class is near the fraction, as far as
            whole groups allow. The share of the records is then only near it, too.

    Raises:
        UserError: all records belong together.
    """
    group = _groups_of_related(records, image_root)
    sizes = np.bincount(group)
    if len(records) < 2:
        raise UserError("there is one video or image only, and parts are made of whole ones")
    if len(sizes) < 2:
        raise UserError(
            "all videos or images are of the same footage (they share frames, one folder or one video): "
            "there is nothing to split by"
        )
    random = np.random.default_rng(seed)
    if not balance_classes:
        order = random.permutation(len(sizes))
        enough = int(np.searchsorted(np.cumsum(sizes[order]), fraction * len(records))) + 1
        return np.isin(group, order[: min(enough, len(sizes) - 1)])
    classes = [object_classes(record) for record in records]
    counts = np.zeros((len(sizes), max(max(each, default=0) for each in classes) + 1))
    for place, each in zip(group, classes, strict=True):
        np.add.at(counts[place], each, 1)
    return _stratify(counts, sizes, fraction, random)[group]


def divided_videos(records: Sequence[Record], held_out: np.ndarray) -> list[tuple[str, str]]:
    """Images that follow one another in both parts, by regular numbers in their names, as frames do.

    Args:
        records: of images.
        held_out: (N,) bool.

    Returns:
        pairs of neighbours.
    """
    series: dict[tuple[str, ...], list[tuple[int, bool, str]]] = defaultdict(list)
    for record, is_held in zip(records, held_out.tolist(), strict=True):
        numbered = _NUMBERED.fullmatch(os.path.splitext(record["file_name"])[0])
        if numbered:
            before, number, after = numbered.groups()
            series[before, after].append((int(number), is_held, record["file_name"]))
    pairs = []
    for images in map(sorted, series.values()):
        steps = np.diff([number for number, *_ in images])
        usual, counts = np.unique(steps, return_counts=True)
        if len(steps) < 2 or counts.max() * 2 <= len(steps):
            continue
        step = usual[counts.argmax()]
        for (n, is_held, name), (m, is_next_held, following) in pairwise(images):
            if m - n == step and is_held != is_next_held:
                pairs.append((name, following))
    return pairs


def _stratify(
    counts: np.ndarray, sizes: np.ndarray, fraction: float, random: np.random.Generator
) -> np.ndarray:
    """Iterative stratification in two parts: the rarest class that is left is dealt out first.

    Args:
        counts: (G,K) objects of each class in each group.
        sizes: (G,) records of each group.

    Returns:
        (G,) bool, the groups that are held out.
    """
    shares = np.array([1 - fraction, fraction])
    wanted, wanted_records = np.outer(shares, counts.sum(axis=0)), shares * sizes.sum()
    part = np.full(len(sizes), -1)

    def put(one: int, chosen: int) -> None:
        part[one] = chosen
        wanted[chosen] -= counts[one]
        wanted_records[chosen] -= sizes[one]

    order = random.permutation(len(sizes))
    while True:
        left = order[part[order] < 0]
        having = (counts[left] > 0).sum(axis=0)
        if not having.any():
            break
        rarest = int(np.where(having > 0, having, len(sizes) + 1).argmin())
        with_class = left[counts[left, rarest] > 0]
        # Many at once are the hardest to place.
        for one in with_class[np.argsort(-counts[with_class, rarest], kind="stable")]:
            # The training part, where both want as much.
            put(one, int(np.lexsort((-wanted_records, -wanted[:, rarest]))[0]))
    for one in order[part[order] < 0]:
        put(one, int(wanted_records.argmax()))
    for missing in {0, 1} - {*part.tolist()}:
        part[order[sizes[order].argmin()]] = missing
    return part == 1


def _groups_of_related(records: Sequence[Record], image_root: str | None) -> np.ndarray:
    """(N,) number of the connected component of each record in the graph record - what it shares."""
    frames = [[*map(os.path.abspath, frames_of(record))] for record in records]
    root = image_root and os.path.abspath(image_root)
    root = root or os.path.commonpath([os.path.dirname(name) for each in frames for name in each])
    number: dict[str, int] = {}
    edges = []
    for i, (record, names) in enumerate(zip(records, frames, strict=True)):
        shared = {*_footage(names, "length" in record, root), *_copies(record)}
        edges += [(i, number.setdefault(key, len(records) + len(number))) for key in shared]
    rows, columns = np.array(edges).T
    size = len(records) + len(number)
    graph = coo_array((np.ones(len(edges), bool), (rows, columns)), shape=(size, size))
    component = connected_components(graph, directed=False)[1][: len(records)]
    return np.unique(component, return_inverse=True)[1]


def _footage(names: Sequence[str], is_video: bool, root: str) -> Iterator[str]:
    """What frames say of the footage that they are from."""
    for name in names:
        of_video = split_frame_name(name)
        roboflow, folder = origin(name), os.path.dirname(name)
        if of_video:
            yield of_video[0]
        elif roboflow is not None:
            yield f"Roboflow: {roboflow}"
        else:
            yield name
            if is_video and folder != root:
                yield folder


def _copies(record: Record) -> Iterator[str]:
    match = _MOT17_COPY.fullmatch(record.get("sequence", ""))
    if match:
        yield f"MOT17: {match[1]}"

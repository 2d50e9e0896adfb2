"""Which sequences of a folder, and which part of each, make up a split."""

import math
import os
from collections.abc import Sequence
from fnmatch import fnmatchcase

from d2video.formats.mot_sequence import MOTSequence, read_seqinfo
from d2video.utils.errors import UserError

_LAYOUT = (
    "a folder for each sequence with seqinfo.ini, img1/000001.jpg ... and, labelled, gt/gt.txt"
)


def find_sequences(
    root: str,
    *,
    sequences: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    detector: str | None = None,
) -> list[str]:
    """The folders of a data set's sequences, sorted by name.

    Args:
        root: folder that holds them, e.g. ``MOT17/train``.
        sequences: names or patterns as of file names ("MOT17-0[24]*"); None: all. With a detector,
            "MOT17-02" also means "MOT17-02-FRCNN".
        exclude: names or patterns of the ones to leave out, e.g. for cross-validation.
        detector: only the folders that end in this name (MOT17: "DPM", "FRCNN" or "SDP", three
            copies of each sequence); None: all folders.

    Raises:
        UserError: there is no such folder, nothing in it, or nothing that a pattern matches.
    """
    if not os.path.isdir(root):
        raise UserError(
            f"folder {root} does not exist: set DETECTRON2_DATASETS or fetch the data; it must "
            f"hold {_LAYOUT}"
        )
    if os.path.isfile(os.path.join(root, "seqinfo.ini")):
        raise UserError(f"folder {root} is itself a sequence: give the folder that holds it")
    names = sorted(
        entry.name for entry in os.scandir(root) if entry.is_dir() and entry.name[0] != "."
    )
    suffix = "" if detector is None else f"-{detector}"
    found = [name for name in names if name.endswith(suffix)]
    if not found:
        kind = f"whose name ends in {suffix}" if names and suffix else f"(expected {_LAYOUT})"
        raise UserError(f"folder {root} holds no sequence {kind}: correct the path or the detector")
    chosen = found if sequences is None else _matching(found, sequences, suffix, root)
    left_out = _matching(found, exclude, suffix, root)
    chosen = [name for name in chosen if name not in left_out]
    if not chosen:
        raise UserError(f"no sequence of {root} is left: choose more or exclude less")
    return [os.path.join(root, name) for name in chosen]


def read_sequences(
    root: str,
    *,
    sequences: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    detector: str | None = None,
    frame_range: tuple[float, float] = (0.0, 1.0),
) -> list[MOTSequence]:
    """A split's sequences, by their ``seqinfo.ini``; no image is looked at.

    Args:
        root, sequences, exclude, detector: see :func:`find_sequences`.
        frame_range: part of every sequence. Of L frames the first L·start are passed over, and
            the last is number L·end (both rounded down).

    Raises:
        UserError: as :func:`find_sequences` or :func:`read_seqinfo`; a part without frames; some
            sequences have ground truth and others have none.
    """
    folders = find_sequences(root, sequences=sequences, exclude=exclude, detector=detector)
    split = [_read_sequence(folder, *frame_range) for folder in folders]
    unlabelled = [each.folder for each in split if each.gt_file is None]
    if 0 < len(unlabelled) < len(split):
        raise UserError(
            f"{os.path.join(unlabelled[0], 'gt', 'gt.txt')} does not exist, but other sequences "
            f"of {root} have theirs: fetch it, or leave the sequence out"
        )
    return split


def check_frame_range(frame_range: tuple[float, float]) -> None:
    """Raise a UserError unless 0 <= start < end <= 1."""
    start, end = frame_range
    if not 0 <= start < end <= 1:
        raise UserError(f"frame_range is ({start}, {end}): give 0 <= start < end <= 1")


def _matching(names: list[str], patterns: Sequence[str], suffix: str, root: str) -> list[str]:
    matched = set()
    for pattern in patterns:
        # Without a suffix both are the same.
        hits = [n for n in names if fnmatchcase(n, pattern) or fnmatchcase(n, pattern + suffix)]
        if not hits:
            some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise UserError(f"no sequence of {root} is called '{pattern}'; choose of {some}")
        matched.update(hits)
    return sorted(matched)


def _read_sequence(folder: str, start: float, end: float) -> MOTSequence:
    info = read_seqinfo(folder)
    # 0.29 * 100 is a little less than 29.
    first, stop = (math.floor(part * info.num_frames + 1e-6) for part in (start, end))
    if first == stop:
        raise UserError(
            f"sequence {folder} has {info.num_frames} frames, none of which is in the range "
            f"({start}, {end}): widen frame_range or leave the sequence out"
        )
    gt_file = os.path.join(folder, "gt", "gt.txt")
    return MOTSequence(
        name=os.path.basename(folder),
        folder=folder,
        gt_file=gt_file if os.path.isfile(gt_file) else None,
        num_frames=stop - first,
        first_frame=first + 1,
        seq_length=info.num_frames,
        height=info.height,
        width=info.width,
        frame_rate=info.frame_rate,
    )

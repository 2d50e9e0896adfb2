"""Which sequences of a folder, and which part of each, make up a split."""

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from detectron2.utils.logger import log_first_n

from d2video.formats.faults import Fault, Report, refuse
from d2video.formats.mot_sequence import MOTSequence, is_sequence, read_sequence
from d2video.utils.errors import UserError
from d2video.video.frame_source import DEFAULT_FPS
from d2video.video.image_io import visible_folders

_LAYOUT = "a folder for each sequence with img1/000001.jpg ... and, labelled, gt/gt.txt"


def find_sequences(
    root: str,
    *,
    sequences: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    detector: str | None = None,
) -> list[str]:
    """The folders of a dataset's sequences, sorted by name.

    Other folders, such as MOTChallenge's ``seqmaps``, are passed over.

    Args:
        root: folder that holds them, e.g. ``MOT17/train``.
        sequences: names or patterns as of file names ("MOT17-0[24]*"); None: all. With a detector,
            "MOT17-02" also means "MOT17-02-FRCNN".
        exclude: names or patterns of the ones to leave out, e.g. for cross-validation.
        detector: only the folders that end in this name (MOT17: "DPM", "FRCNN" or "SDP", three
            copies of each sequence); None: all folders.

    Raises:
        UserError: the folder is missing or holds no sequence; a pattern matches nothing; a
            folder named in full is not a sequence.
    """
    if not os.path.isdir(root):
        raise UserError(
            f"folder {root} does not exist: set DETECTRON2_DATASETS or fetch the data; it must "
            f"hold {_LAYOUT}"
        )
    folders = [each.name for each in visible_folders(root)]
    names = [name for name in folders if is_sequence(os.path.join(root, name))]
    suffix = "" if detector is None else f"-{detector}"
    for name in {*(sequences or ())} & {*folders} - {*names}:
        raise UserError(
            f"folder {os.path.join(root, name)} is not a sequence: it has neither images nor labels; "
            "leave it out"
        )
    found = [name for name in names if name.endswith(suffix)]
    if not names and is_sequence(root):
        raise UserError(f"folder {root} is itself a sequence: give the folder that holds it")
    if not found:
        kind = f"whose name ends in {suffix}" if names and suffix else f"(expected {_LAYOUT})"
        raise UserError(f"folder {root} holds no sequence {kind}: correct the path or the detector")
    chosen = found if sequences is None else _matching(found, sequences, suffix, root)
    left_out = _matching(folders, exclude, suffix, root)
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
    needs_images: bool = True,
    report: Report = refuse,
) -> list[MOTSequence]:
    """A split's sequences; of each the images are listed and the head of one is read.

    Args:
        root, sequences, exclude, detector: see :func:`find_sequences`.
        frame_range: part of every sequence. Of L frames the first L·start are passed over, and
            the last is number L·end (both rounded down).
        needs_images: see :func:`read_sequence`.
        report: takes the faults of sequences: as :func:`read_sequence`; a part without frames; no
            ground truth where other sequences have one.

    Raises:
        UserError: as :func:`find_sequences`.
    """
    split: list[MOTSequence] = []
    for folder in find_sequences(root, sequences=sequences, exclude=exclude, detector=detector):
        try:
            split.append(_part(read_sequence(folder, needs_images=needs_images), *frame_range))
        except UserError as error:
            report(Fault(folder, "file", None, str(error)))
    unlabelled = [each.folder for each in split if each.gt_file is None]
    if len(unlabelled) < len(split):
        for folder in unlabelled:
            fault = (
                f"{os.path.join(folder, 'gt', 'gt.txt')} does not exist, but other sequences of "
                f"{root} have theirs: fetch it, or leave the sequence out"
            )
            report(Fault(folder, "file", None, fault))
    without_rate = sum(each.frame_rate is None for each in split)
    if without_rate:
        text = (
            f"{root}: {without_rate} of {len(split)} sequences state no frameRate in a seqinfo.ini: "
            f"{DEFAULT_FPS:g} a second is assumed"
        )
        log_first_n(logging.WARNING, text, name=__name__, key="message")
    return [replace(each, frame_rate=each.frame_rate or DEFAULT_FPS) for each in split]


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


def _part(sequence: MOTSequence, start: float, end: float) -> MOTSequence:
    # 0.29 * 100 is a little less than 29.
    first, stop = (math.floor(part * sequence.num_frames + 1e-6) for part in (start, end))
    if first == stop:
        raise UserError(
            f"sequence {sequence.folder} has {sequence.num_frames} frames, none of which is in the "
            f"range ({start}, {end}): widen frame_range or leave the sequence out"
        )
    return replace(sequence, first=first, num_frames=stop - first)

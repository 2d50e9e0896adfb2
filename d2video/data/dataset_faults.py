"""Reading a whole dataset for its faults: all files of its records."""

import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

import torch
from tqdm import tqdm

from d2video.data.record_faults import record_faults
from d2video.data.records import Record
from d2video.formats.faults import Finding, LeftOut, Tally
from d2video.utils.errors import UserError


def check_records(
    records: Sequence[Record],
    workers: int,
    title: str,
    mappers: Sequence[Callable[[Any], Any]] = (),
) -> list[Finding]:
    """What is found in all records, in their order; last what is left out of them all.

    Args:
        records: of one kind.
        workers: processes that read; 0: this one.
        title: of the dataset.
        mappers: that take the records, see :func:`record_faults`.
    """
    bar = partial(tqdm, total=len(records), desc=title, unit="record", disable=None)
    find = partial(record_faults, mappers=mappers)
    if workers == 0:
        return _together(bar(map(find, records)), title)
    # Forked, as torch's data loaders are: otherwise each would load all libraries again.
    fork = multiprocessing.get_context("fork")
    chunk = max(1, min(16, len(records) // (4 * workers)))
    with ProcessPoolExecutor(workers, fork, torch.set_num_threads, (1,)) as pool:
        try:
            return _together(bar(pool.map(find, records, chunksize=chunk)), title)
        except BrokenProcessPool as error:
            raise UserError(
                f"{title}: a process was killed while it read, perhaps for lack of memory: lower "
                "--num-workers"
            ) from error


def _together(per_record: Iterable[list[Finding]], title: str) -> list[Finding]:
    findings: list[Finding] = []
    tally = Tally(title, "boxes")
    for each in itertools.chain.from_iterable(per_record):
        if isinstance(each, LeftOut):
            tally.add(each)
        else:
            findings.append(each)
    tally.tell(findings.append)
    return findings

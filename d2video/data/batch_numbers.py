"""Tell the mapper which batch a sample is for, so that all samples of a batch can share a choice."""

from typing import NamedTuple


class NumberedIndex(NamedTuple):
    """Index of a sample, and number of the batch that it is for, the same in all processes."""

    sample: int
    batch_number: int

"""Training goes on when a file cannot be read: another sample takes its place, within bounds."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from d2video.data.batch_numbers import NumberedIndex
from d2video.utils.errors import BrokenFile, UserError

logger = logging.getLogger(__name__)


class RetryingDataset(Dataset):
    """Mapped records. One whose file is broken is replaced by a random other one.

    Every broken file is named once in the log (of each process that loads data), with their number.
    """

    def __init__(self, records: Any, mapper: Callable[[dict[str, Any]], Any], max_retries: int):
        """
        Args:
            records: a dataset of records.
            mapper: called with one; raises :class:`BrokenFile` where another may take its place.
            max_retries: others tried for one sample. 0: a broken file is an error.

        Raises:
            UserError: ``max_retries`` is negative.
        """
        if max_retries < 0:
            raise UserError(f"INPUT.VIDEO.MAX_RETRIES is {max_retries}: it must not be negative")
        self._records = records
        self._mapper = mapper
        self._max_retries = max_retries
        self._broken: set[str] = set()

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int | NumberedIndex) -> Any:
        """The mapped record, which has ``batch_number`` where the index tells it.

        Raises:
            UserError: the mapper's own, or after ``max_retries`` broken files in a row.
        """
        batch = {}
        if isinstance(index, NumberedIndex):
            index, batch["batch_number"] = index
        for _ in range(self._max_retries + 1):
            try:
                record = self._records[int(index)]
                return self._mapper({**record, **batch} if batch else record)
            except BrokenFile as error:
                if self._max_retries == 0:
                    raise
                last = str(error)
                if last not in self._broken:
                    self._broken.add(last)
                    logger.warning(
                        "%s. Another takes its place; broken files so far: %d",
                        *(last, len(self._broken)),
                    )
            # numpy's global state differs in every process, see clip_mapper.sample_seed.
            index = np.random.randint(len(self._records))
        raise UserError(
            f"{self._max_retries + 1} files in a row cannot be read (INPUT.VIDEO.MAX_RETRIES), the "
            f"last: {last}"
        )

"""The samples of a training, one a video or one a frame, with the class indices of the model."""

import logging

import numpy as np
from detectron2.data.common import DatasetFromList
from torch.utils.data import Dataset

from d2video.data.class_matching import match_classes
from d2video.data.record_classes import annotated_classes, with_classes
from d2video.data.records import Record, num_frames
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)


class ClipDataset(Dataset):
    """Records of videos, one sample a video or one a frame; an image is a video of one frame.

    Records are stored once, serialised, in memory that worker processes share, however many samples
    refer to them.

    Attributes:
        class_names: of the labels, by class index; None if they are not known.
        source: what messages call the data.
    """

    def __init__(
        self,
        records: list[Record],
        epoch_unit: str,
        class_names: list[str] | None = None,
        source: str = "the training data",
    ):
        """
        Args:
            records: with class indices of ``class_names``.
            epoch_unit: "video", or "frame": then every frame is a sample with ``key_frame``.
            class_names, source: see above.

        Raises:
            UserError: another unit.
        """
        if epoch_unit not in ("frame", "video"):
            raise UserError(f"INPUT.EPOCH_UNIT is '{epoch_unit}': choose frame or video")
        self.per_frame = epoch_unit == "frame"
        samples = [num_frames(record) if self.per_frame else 1 for record in records]
        self.num_samples = np.array(samples, np.int64)
        self._first = np.concatenate([[0], np.cumsum(self.num_samples)])
        self._records = DatasetFromList(records, copy=False)
        self.class_names = self._names_in_records = class_names
        self.source = source
        self._new_index: list[int | None] | None = None

    def match_classes(self, names: list[str], model_source: str, remedy: str) -> None:
        """From now on give records class indices of ``names``, which classes are found in by name.

        Args:
            names: by class index; "" for a class without a name.
            model_source, remedy: see :func:`~d2video.data.class_matching.match_classes`.

        Raises:
            UserError: an object has a class that ``names`` lacks.
        """
        if self._names_in_records is None:
            logger.warning(
                "the names of the classes of %s are not known: their numbers are taken for those of %s",
                *(self.source, model_source),
            )
            return
        match = match_classes(
            names,
            self._names_in_records,
            lambda: annotated_classes(self._records),
            model_source=model_source,
            data_source=self.source,
            remedy=remedy,
        )
        self.class_names, self._new_index = names, None
        if match.to_model != [*range(len(match.data_names))]:
            self._new_index = match.to_model
            logger.info("the classes of %s get the numbers of %s", self.source, model_source)

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, index: int) -> Record:
        video = int(np.searchsorted(self._first, index, side="right")) - 1
        record = self._records[video]
        if self._new_index is not None:
            record = with_classes(record, self._new_index)
        if self.per_frame:
            record = {**record, "key_frame": index - int(self._first[video])}
        return record

"""The annotations of a long video as columns, which become dicts only for the frames asked for.

The crowded videos of MOT20 have up to 650,000 annotated boxes. Records are unpickled once a sample,
and as many dicts would take longer than everything else that is done with it.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from itertools import repeat
from typing import overload

import numpy as np
from detectron2.structures import BoxMode

from d2video.data.records import Annotation


class FrameAnnotations(Sequence[list[Annotation]]):
    """L lists of annotations, which are made again at every access."""

    def __init__(self, num_frames: int, frame: np.ndarray, columns: Mapping[str, np.ndarray]):
        """
        Args:
            num_frames: L.
            frame: (N,) frame of each annotation, 0 to L-1, in any order.
            columns: {key of the dicts: its N values}, ``bbox`` (N,4) XYWH_ABS among them;
                ``bbox_mode`` and ``iscrowd`` (0) are added, and a ``segmentation`` that is None is left
                out. Within a frame the order stays.
        """
        order = np.argsort(frame, kind="stable")
        self._first = np.searchsorted(frame[order], np.arange(num_frames + 1))
        self._columns = {key: values[order] for key, values in columns.items()}

    def with_classes(self, new_index: Sequence[int]) -> "FrameAnnotations":
        """The same annotations with other classes, by the class that they have."""
        changed = copy(self)
        classes = np.asarray(new_index, np.int64)[self._columns["category_id"]]
        changed._columns = {**self._columns, "category_id": classes}
        return changed

    def __len__(self) -> int:
        return len(self._first) - 1

    @overload
    def __getitem__(self, index: int) -> list[Annotation]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[Annotation]]: ...
    def __getitem__(self, index):
        """Frame ``index`` (a negative one counts from the end), or the list of a slice's frames."""
        if isinstance(index, slice):
            return [self[t] for t in range(*index.indices(len(self)))]
        t = range(len(self))[index]
        rows = slice(self._first[t], self._first[t + 1])
        values = [column[rows].tolist() for column in self._columns.values()]
        keys = (*self._columns, "iscrowd", "bbox_mode")
        found = [dict(zip(keys, row)) for row in zip(*values, repeat(0), repeat(BoxMode.XYWH_ABS))]
        for annotation in found if "segmentation" in self._columns else ():
            if annotation["segmentation"] is None:
                del annotation["segmentation"]
        return found

    @property
    def num_annotations(self) -> int:
        """N."""
        return int(self._first[-1])

    def count_without(self, key: str) -> int:
        """How many annotations have no value under a key."""
        column = self._columns.get(key)
        return self.num_annotations if column is None else sum(v is None for v in column.tolist())

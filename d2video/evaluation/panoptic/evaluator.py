"""Evaluation of panoptic segmentation while the model runs, without the panopticapi package."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate
from torch import Tensor

from d2video.data.class_matching import ClassMatch
from d2video.evaluation.base import GatheringEvaluator
from d2video.evaluation.metadata import required_metadata
from d2video.evaluation.panoptic.quality import (
    ImageComparison,
    Segment,
    compare_image,
    mean_quality,
)
from d2video.formats.coco_panoptic import PanopticFile
from d2video.formats.panoptic_png import check_segments, segment_ids
from d2video.structures.answers import ImageAnswer
from d2video.structures.mask_answers import check_panoptic
from d2video.utils.errors import UserError
from d2video.video.image_io import read_rgb

logger = logging.getLogger(__name__)


class PanopticEvaluator(GatheringEvaluator[int, ImageComparison, ImageAnswer]):
    """Panoptic quality by the rules of COCO, see :mod:`.quality`.

    An input has its ``image_id``; an answer ``panoptic_seg``: an int tensor (H,W) of the original
    size with the id of each pixel's segment, 0 for void, and a list of one dict a segment: ``id``,
    ``category_id`` (contiguous) and ``isthing``.

    The results ``panoptic_seg`` are PQ, SQ, RQ of all categories, of things (``PQ_th``, ...) and of
    stuff (``PQ_st``, ...): percentages, nan where no category of that kind occurs.

    Attributes:
        is_thing: by category id of the file, ascending; K categories.
        is_scored: (K,) bool.
        names: by category id.
    """

    name = "panoptic_seg"
    noun = "image"
    answer_key, answer_noun = "panoptic_seg", "panoptic segmentations"

    def __init__(
        self,
        path: str,
        folder: str,
        thing_ids: Mapping[int, int],
        stuff_ids: Mapping[int, int],
        classes: ClassMatch | None = None,
    ) -> None:
        """
        Args:
            path: annotation file in COCO's panoptic format.
            folder: with the label images, which are read one by one.
            thing_ids, stuff_ids: the file's category ids → the answers', of things and of stuff.
            classes: those that the model has are scored; None: all.

        Raises:
            UserError: the file is missing or not in that format, or one of its categories is in
                neither mapping.
        """
        file = PanopticFile.read(path)
        is_thing = {each["id"]: bool(each["isthing"]) for each in file.categories}
        missing = is_thing.keys() - thing_ids.keys() - stuff_ids.keys()
        if missing:
            raise UserError(
                f"category id {min(missing)} of {path} is not in the dataset's metadata: "
                "register the dataset with its own categories"
            )
        self.is_thing = dict(sorted(is_thing.items()))
        self.names = {each["id"]: each["name"] for each in file.categories}
        # Things last: where both use the same numbers, the stuff's may have all of them as one class.
        labels = [{**stuff_ids, **thing_ids}[i] for i in self.is_thing]
        self.is_scored = np.isin(labels, labels if classes is None else classes.common)
        # By whether it is a thing: both may use the same number.
        self._category_ids = {
            True: {label: i for i, label in thing_ids.items() if i in is_thing},
            False: {label: i for i, label in stuff_ids.items() if i in is_thing},
        }
        # By image id the label image and its segments.
        self._images = {
            int(entry["image_id"]): (
                os.path.join(folder, entry["file_name"]),
                [
                    Segment(s["id"], s["category_id"], bool(s["iscrowd"]))
                    for s in entry["segments_info"]
                ],
            )
            for entry in file.annotations
        }
        super().__init__(path, self._images)

    @classmethod
    def from_dataset(
        cls, dataset_name: str, classes: ClassMatch | None = None
    ) -> "PanopticEvaluator":
        """The evaluator of a dataset registered with ``register_coco_panoptic``; for ``classes`` see
        :meth:`__init__`.

        Raises:
            UserError: the metadata lacks an entry, or the annotation file is at fault.
        """
        keys = (
            *("panoptic_json", "panoptic_root"),
            *("thing_dataset_id_to_contiguous_id", "stuff_dataset_id_to_contiguous_id"),
        )
        register = "register_coco_panoptic"
        path, folder, things, stuff = (
            required_metadata(dataset_name, key, register) for key in keys
        )
        return cls(path, folder, things, stuff, classes)

    def _key(self, given: Mapping[str, Any]) -> int:
        return given["image_id"]

    def _keep(self, given: Mapping[str, Any], answer: ImageAnswer) -> ImageComparison:
        """The comparison of an image.

        Raises:
            UserError: an unknown category or segment id, a label image that cannot be read or lacks a
                segment, or an answer that has not its size.
        """
        check_panoptic(answer["panoptic_seg"], f"the model's answer to image {given['image_id']}")
        path, segments = self._images[given["image_id"]]
        true_ids = segment_ids(read_rgb(path))
        check_segments(true_ids, [segment.segment_id for segment in segments], path)
        ids, predicted = self._read_answer(
            given["image_id"], true_ids.shape, *answer["panoptic_seg"]
        )
        return compare_image(true_ids, segments, ids, predicted)

    def of_all_images(self, kept: Mapping[int, ImageComparison]) -> dict[int, ImageComparison]:
        """Add comparisons with nothing for images without an answer."""
        void = np.zeros((1, 1), np.int64)  # what is missed does not depend on pixels
        return {
            image_id: kept[image_id]
            if image_id in kept
            else compare_image(void, segments, void, {})
            for image_id, (_, segments) in self._images.items()
        }

    def _score(self, kept: dict[int, ImageComparison]) -> dict[str, float]:
        self._missing(kept)
        category_ids = [*self.is_thing]
        total = np.zeros((len(category_ids), 4))
        for comparison in self.of_all_images(kept).values():
            total += comparison.tally(category_ids)
        return self._summarize(total)

    def _read_answer(
        self,
        image_id: int,
        size: tuple[int, ...],
        id_map: Tensor,
        segments_info: Sequence[Mapping[str, Any]],
    ) -> tuple[np.ndarray, dict[int, int]]:
        """The ids (H,W) and {id: category id of the file} of the predicted segments, checked."""
        where = f"the model's answer to image {image_id}"
        ids = id_map.cpu().numpy()
        if ids.shape != size:
            raise UserError(
                f"{where}: the panoptic_seg map is {list(ids.shape)}, the label image {list(size)}; "
                "both must have the size of the original image"
            )
        predicted: dict[int, int] = {}
        for segment in segments_info:
            isthing, label = bool(segment["isthing"]), segment["category_id"]
            if label not in self._category_ids[isthing]:
                raise UserError(
                    f"{where}: category {label} of segment {segment['id']} is not a "
                    f"{'thing' if isthing else 'stuff'} category of the dataset; evaluate with its "
                    "categories"
                )
            predicted[segment["id"]] = self._category_ids[isthing][label]
        stray = np.setdiff1d(ids, [0, *predicted])
        if stray.size or 0 in predicted or len(predicted) < len(segments_info):
            raise UserError(
                f"{where}: the ids of the map and of segments_info differ, an id is given "
                "twice, or a segment has id 0, which is void; give each segment one id from 1 on"
            )
        return ids, predicted

    def _summarize(self, total: np.ndarray) -> dict[str, float]:
        """Percentages of all scored categories, things and stuff, logged and returned."""
        things = np.array([*self.is_thing.values()], bool)
        results, rows = {}, []
        for name, suffix, chosen in (
            ("All", "", self.is_scored),
            ("Things", "_th", self.is_scored & things),
            ("Stuff", "_st", self.is_scored & ~things),
        ):
            quality, count = mean_quality(total[chosen])
            results.update({key + suffix: value for key, value in quality.items()})
            rows.append((name, *quality.values(), count))
        header = ("", "PQ", "SQ", "RQ", "categories")
        logger.info("Panoptic quality:\n%s", tabulate(rows, header, "pipe", floatfmt=".3f"))
        return results

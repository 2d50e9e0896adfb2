"""Evaluators of datasets of labels, whose ground truth is their records: the model says which one counts."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from detectron2.data import Metadata, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators

from d2video.data.class_matching import ClassMatch
from d2video.data.export import coco_content, youtube_vis_content
from d2video.data.frame_images import frames_as_images
from d2video.data.label_use import LabelUse
from d2video.data.loading import load_records
from d2video.data.records import Record
from d2video.evaluation.coco import COCOInstanceEvaluator
from d2video.evaluation.metadata import required_metadata
from d2video.evaluation.mot.evaluator import MOTEvaluator
from d2video.evaluation.mot.ground_truth import MOTGroundTruth
from d2video.evaluation.vis.evaluator import YTVISEvaluator
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from d2video.formats.coco import COCOInstances, check_coco_instances
from d2video.formats.faults import Fault, Finding, refuse
from d2video.formats.mot_ground_truth import MOTS_IGNORE_CLASS


@dataclass(frozen=True)
class Labels:
    """The labels of a dataset.

    Attributes:
        source: what messages call it.
        records: of its videos or images.
        class_names: by class index.
        numbers: of the classes in files of results, by class index.
        benchmark: whose rules count for tracks of boxes.
    """

    source: str
    records: list[Record]
    class_names: list[str]
    numbers: list[int]
    benchmark: str

    @classmethod
    def of_dataset(cls, name: str) -> "Labels":
        """
        Raises:
            UserError: the dataset cannot be read.
        """
        records = load_records(name)
        classes = required_metadata(name, "thing_classes", "register_labels")
        metadata = MetadataCatalog.get(name)
        index_of = metadata.thing_dataset_id_to_contiguous_id
        numbers = sorted(index_of, key=index_of.__getitem__)
        benchmark = metadata.get("benchmark", "MOT17")
        return cls(f"dataset {name}", records, [*classes], numbers, benchmark)

    @property
    def index_of(self) -> dict[int, int]:
        """Class index by number."""
        return {number: k for k, number in enumerate(self.numbers)}

    def tracks(self, *, masks: bool) -> MOTGroundTruth:
        """For HOTA, CLEAR and IDF1 of boxes or masks, by class.

        Raises:
            UserError: as :meth:`MOTGroundTruth.from_records`.
        """
        benchmark = "MOTS20" if masks else self.benchmark
        taken = masks and MOTS_IGNORE_CLASS in self.numbers
        return MOTGroundTruth.from_records(
            *(self.source, benchmark, self.records, self.class_names),
            None if taken else self.numbers,
        )

    def mask_tracks(self) -> YTVISGroundTruth:
        """For the AP of YouTube-VIS.

        Raises:
            UserError: no object has a mask.
        """
        content = youtube_vis_content(self.records, self.class_names, source=self.source)
        return YTVISGroundTruth.from_dict(self._numbered(content), self.source, _refuse_faults)

    def images(self) -> COCOInstances:
        """For the AP of COCO: a video is an image a frame."""
        # Files are not looked for: their names are only to be different.
        images = frames_as_images(self.records)
        named = [{**image, "file_name": str(image["image_id"])} for image in images]
        content = coco_content(named, self.class_names, source=self.source)
        return check_coco_instances(self._numbered(content), self.source, _refuse_faults)

    def _numbered(self, content: dict[str, Any]) -> dict[str, Any]:
        """The content of a file, which numbers classes from 1 on, with ``numbers``."""
        for category in content["categories"]:
            category["id"] = self.numbers[category["id"] - 1]
        for annotation in content.get("annotations", ()):
            annotation["category_id"] = self.numbers[annotation["category_id"] - 1]
        return content


def _refuse_faults(finding: Finding) -> None:
    """Refuse faults; doubts and what is left out were reported when the labels were read."""
    if isinstance(finding, Fault):
        refuse(finding)


def _coco(labels: Labels, output_dir: str | None, classes: ClassMatch | None) -> Any:
    metadata = Metadata(
        name=labels.source,
        thing_classes=labels.class_names,
        thing_dataset_id_to_contiguous_id=labels.index_of,
    )
    return COCOInstanceEvaluator(labels.images(), metadata, output_dir, classes)


# What :attr:`LabelUse.evaluators` names. Projects may add their own.
LABEL_EVALUATORS: dict[str, Callable[[Labels, str | None, ClassMatch | None], Any]] = {
    "coco": _coco,
    "ytvis": lambda labels, *rest: YTVISEvaluator(labels.mask_tracks(), labels.index_of, *rest),
    "mot": lambda labels, *rest: MOTEvaluator(labels.tracks(masks=False), *rest),
    "mots": lambda labels, *rest: MOTEvaluator(labels.tracks(masks=True), *rest),
}


def build_label_evaluator(
    dataset_name: str,
    output_dir: str,
    classes: ClassMatch | None = None,
    use: LabelUse | None = None,
) -> DatasetEvaluator:
    """The evaluator of a set of labels that a model's use names; see
    :func:`~d2video.evaluation.build.build_evaluator`.

    Of several each has a folder of its own in ``output_dir``.

    Raises:
        UserError: the labels cannot be read, or are not such as the evaluator needs.
    """
    labels = Labels.of_dataset(dataset_name)
    kinds = _possible(labels.records) if use is None else use.evaluators
    if len(kinds) == 1:
        return LABEL_EVALUATORS[kinds[0]](labels, output_dir, classes)
    folders = {kind: os.path.join(output_dir, kind) for kind in kinds}
    return DatasetEvaluators([LABEL_EVALUATORS[k](labels, folders[k], classes) for k in kinds])


def _possible(records: Sequence[Record]) -> tuple[str, ...]:
    """What can be scored of all objects."""
    if "length" not in records[0]:
        return ("coco",)
    labels = [frame for record in records for frame in record.get("annotations", ())]
    objects = (each for frame in labels for each in frame)
    return ("ytvis", "mots") if all("segmentation" in each for each in objects) else ("mot",)

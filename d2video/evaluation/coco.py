"""detectron2's evaluators of COCO datasets, fit for use without its compiled code."""

import contextlib
import importlib.util
import io
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from detectron2.data import Metadata, MetadataCatalog
from detectron2.evaluation import (
    COCOEvaluator,
    COCOPanopticEvaluator,
    DatasetEvaluator,
    DatasetEvaluators,
)
from detectron2.structures import Instances
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from pycocotools.coco import COCO

from d2video.data.class_matching import ClassMatch
from d2video.data.datasets.class_metadata import set_classes
from d2video.evaluation.coco_results import check_coco_results
from d2video.evaluation.metadata import required_metadata
from d2video.evaluation.panoptic.evaluator import PanopticEvaluator
from d2video.formats.coco import COCOInstances, read_coco_instances
from d2video.formats.geometry.rle import encode_masks
from d2video.structures.mask_answers import check_dense
from d2video.utils.collection import paused_collection
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)


class COCOInstanceEvaluator(COCOEvaluator):
    """AP of boxes and, where model and dataset have them, of masks, by COCO's own code.

    Differs from detectron2's in that the annotation file is read by the rules of training, and that
    datasets which name stuff among their classes are accepted.
    """

    def __init__(
        self,
        file: COCOInstances,
        metadata: Metadata,
        output_dir: str | None,
        classes: ClassMatch | None = None,
    ):
        """
        Args:
            file: the labels.
            metadata: with ``thing_classes`` and ``thing_dataset_id_to_contiguous_id``.
            output_dir: folder for detectron2's result files; None: they are not written.
            classes: those that the model has are scored, the others are not in the ground truth; None:
                all are scored.
        """
        ids = metadata.thing_dataset_id_to_contiguous_id
        self._scored = set(ids.values() if classes is None else classes.common)
        scored = {category_id for category_id, label in ids.items() if label in self._scored}
        # Replaces detectron2's, which would read the file again.
        self._logger = logging.getLogger(COCOEvaluator.__module__)
        self._distributed, self._output_dir, self._tasks = True, output_dir, None
        self._use_fast_impl, self._max_dets_per_image = False, [1, 10, 100]
        self._kpt_oks_sigmas: Sequence[float] = ()
        self._cpu_device, self._metadata = torch.device("cpu"), metadata
        self._labels, self._coco_api = file, coco_api(file, scored)
        self._answers_masks = False
        self._do_evaluation = any(not each["iscrowd"] for each in self._annotations())
        if file.instances is not None and not self._do_evaluation:
            logger.warning("%s has no objects: AP is not computed", file.source)

    @classmethod
    def from_dataset(
        cls, dataset_name: str, output_dir: str | None, classes: ClassMatch | None = None
    ) -> "COCOInstanceEvaluator":
        """The evaluator of a registered dataset with ``json_file`` in its metadata.

        Raises:
            UserError: the metadata lack ``json_file`` or have other categories than the file, or as
                :func:`~d2video.formats.coco.read_coco_instances`.
        """
        path = required_metadata(dataset_name, "json_file", "register_coco")
        file = read_coco_instances(path)
        metadata = MetadataCatalog.get(dataset_name)
        if metadata.get("thing_dataset_id_to_contiguous_id") is None:
            contiguous_id = {category_id: k for k, category_id in enumerate(file.categories)}
            set_classes(dataset_name, [*file.categories.values()], contiguous_id, path)
        for ids, others, where in (
            (metadata.thing_dataset_id_to_contiguous_id, file.categories, path),
            (file.categories, metadata.thing_dataset_id_to_contiguous_id, "the metadata"),
        ):
            missing = [category_id for category_id in ids if category_id not in others]
            if missing:
                raise UserError(
                    f"{where} lacks category {missing[0]} of dataset {dataset_name} ({path}): "
                    "register the dataset with its own categories"
                )
        return cls(file, metadata, output_dir, classes)

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Take a model's answers, as detectron2's evaluator.

        Raises:
            UserError: masks of another form than a bool tensor, or a class that the dataset lacks.
        """
        known = {*self._metadata.thing_dataset_id_to_contiguous_id.values()}
        for given, answer in zip(inputs, outputs, strict=True):
            if "instances" not in answer:
                super().process([given], [answer])
                continue
            where, found = f"the model's answer to image {given['image_id']}", answer["instances"]
            rles = None
            if found.has("pred_masks"):
                self._answers_masks = True
                check_dense(found.pred_masks, "NHW", f"{where}, pred_masks")
                rles = encode_masks(found.pred_masks.cpu())
                fields = {k: v for k, v in found.get_fields().items() if k != "pred_masks"}
                answer = {**answer, "instances": Instances(found.image_size, **fields)}
            if odd := {*found.pred_classes.tolist()} - known:
                raise UserError(
                    f"{where}: class {min(odd)} is not one of the dataset's {len(known)} classes: set the "
                    "model's number of classes to that of its training set"
                )
            super().process([given], [answer])
            # detectron2 encodes the masks one by one, which takes several times as long.
            for entry, rle in zip(self._predictions[-1]["instances"], rles or ()):
                entry["segmentation"] = rle | {"counts": rle["counts"].decode()}

    def take_results(self, results: Any, source: str) -> str:
        """Take the content of a file of results in place of a model's answers.

        Boxes are scored where all entries have one, and so are masks.

        Returns:
            how much there is, in words.

        Raises:
            UserError: the first fault, with its place in the file, ``source``.
        """
        self._tasks = check_coco_results(results, self._labels, source)
        if "segm" in self._tasks and not self._has_masks():
            self._tasks.remove("segm")
        index_of = self._metadata.thing_dataset_id_to_contiguous_id
        by_image: dict[Any, list[dict[str, Any]]] = {i: [] for i in self._labels.images}
        for entry in results:
            label = index_of[entry["category_id"]]
            by_image[entry["image_id"]].append({**entry, "category_id": label})
        self._predictions = [
            {"image_id": image_id, "instances": found} for image_id, found in by_image.items()
        ]
        answered = sum(map(bool, by_image.values()))
        return f"{len(results)} objects in {answered} of {len(by_image)} images"

    def gather(self) -> tuple[list[str], dict[Any, list[dict[str, Any]]]] | None:
        """What all processes kept, in the main process; None in the others. Call it before ``evaluate``,
        which changes what is kept.

        Returns:
            what is scored, "bbox" and "segm"; and the entries of a file of results by image, with the
            category ids of the annotation file.
        """
        comm.synchronize()
        gathered = comm.gather(self._predictions, dst=0)
        if not comm.is_main_process():
            return None
        predictions = [each for part in gathered for each in part if "instances" in each]
        ids = {k: i for i, k in self._metadata.thing_dataset_id_to_contiguous_id.items()}
        by_image = {
            each["image_id"]: [
                {**entry, "category_id": ids[entry["category_id"]]} for entry in each["instances"]
            ]
            for each in predictions
        }
        tasks = self._tasks or self._tasks_from_predictions(
            [e for each in by_image.values() for e in each]
        )
        return sorted(tasks), by_image

    @property
    def truth(self) -> COCO:
        """The labels of the classes that are scored."""
        return self._coco_api

    def _has_masks(self) -> bool:
        """Whether all labels have masks; logs a warning if not."""
        if all(each.get("segmentation") for each in self._annotations()):
            return True
        logger.warning("Some labels have no segmentation: mask AP is not computed")
        return False

    def _annotations(self) -> list[dict[str, Any]]:
        return self._coco_api.dataset.get("annotations", [])

    def _tasks_from_predictions(self, predictions: list[dict[str, Any]]) -> list[str]:
        tasks = super()._tasks_from_predictions(predictions)
        if self._answers_masks and "segm" not in tasks:
            tasks.append("segm")  # no object was found in any image
        if "segm" in tasks and not self._has_masks():
            tasks.remove("segm")
        return tasks

    def _derive_coco_results(
        self, coco_eval: Any, iou_type: str, class_names: list[str] | None = None
    ) -> dict[str, float]:
        if class_names is not None:
            # In the order of pycocotools.
            ids = sorted(self._metadata.thing_dataset_id_to_contiguous_id.items())
            class_names = [class_names[label] for _, label in ids if label in self._scored]
        return super()._derive_coco_results(coco_eval, iou_type, class_names)


@paused_collection()
def coco_api(file: COCOInstances, category_ids: Collection[int]) -> COCO:
    """The content of a file as pycocotools' object, which marks what is in it while it evaluates.

    Args:
        category_ids: only these are in it.

    Returns:
        The annotations have new ids, from 1 on: to pycocotools a match with id 0 is none.
    """
    api = COCO()
    api.dataset = {
        "images": [*file.images.values()],
        "categories": [{"id": i, "name": file.categories[i]} for i in sorted(category_ids)],
    }
    if file.instances is not None:
        instances = [each for each in file.instances if each["category_id"] in category_ids]
        api.dataset["annotations"] = [{**each, "id": k} for k, each in enumerate(instances, 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        api.createIndex()
    return api


def build_coco_panoptic_evaluator(
    dataset_name: str, output_dir: str, classes: ClassMatch | None = None
) -> DatasetEvaluator:
    """Panoptic quality and, where the file of ``json_file`` exists, AP of the things.

    Panoptic quality is by detectron2 where the package panopticapi is installed and all classes are
    scored, else by :class:`PanopticEvaluator`, which gives the same numbers. ``classes`` are those of
    the model and the dataset, see :func:`build_evaluator`.

    Raises:
        UserError: the metadata lacks an entry, or an annotation file is at fault.
    """
    # Checks metadata and file whichever of the two is used.
    panoptic: DatasetEvaluator = PanopticEvaluator.from_dataset(dataset_name, classes)
    are_all = classes is None or classes.is_complete
    if are_all and importlib.util.find_spec("panopticapi") is not None:
        panoptic = COCOPanopticEvaluator(dataset_name, output_dir)
    instances_json = MetadataCatalog.get(dataset_name).get("json_file")
    if not instances_json or not PathManager.isfile(instances_json):
        logger.warning("%s has no instance annotations: AP is not computed", dataset_name)
        return DatasetEvaluators([panoptic])
    instances = COCOInstanceEvaluator.from_dataset(dataset_name, output_dir, classes)
    return DatasetEvaluators([instances, panoptic])

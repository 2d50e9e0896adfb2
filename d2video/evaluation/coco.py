"""detectron2's evaluators of COCO datasets, fit for use without its compiled code."""

import importlib.util
import logging
from typing import Any

from detectron2.data import MetadataCatalog
from detectron2.evaluation import (
    COCOEvaluator,
    COCOPanopticEvaluator,
    DatasetEvaluator,
    DatasetEvaluators,
)
from detectron2.utils.file_io import PathManager

from d2video.evaluation.metadata import required_metadata
from d2video.evaluation.panoptic.evaluator import PanopticEvaluator
from d2video.formats.coco import read_coco_instances
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)


class COCOInstanceEvaluator(COCOEvaluator):
    """AP of boxes and, where model and dataset have them, of masks, by COCO's own code.

    Differs from detectron2's in that faults of the annotation file are reported at the start instead of
    after the last image, and that datasets which name stuff among their classes are accepted.
    """

    def __init__(self, dataset_name: str, output_dir: str):
        """
        Args:
            dataset_name: a registered dataset with ``json_file`` in its metadata.
            output_dir: folder for detectron2's result files.

        Raises:
            UserError: the metadata lacks ``json_file``, or the file is missing, not in COCO's
                format, or lacks what AP is computed from.
        """
        register = "detectron2's register_coco_instances"
        path = required_metadata(dataset_name, "json_file", register)
        read_coco_instances(path)
        ids = required_metadata(dataset_name, "thing_dataset_id_to_contiguous_id", register)
        super().__init__(dataset_name, output_dir=output_dir, use_fast_impl=False)
        for category_id in ids:
            if category_id not in self._coco_api.cats:
                raise UserError(
                    f"{path} lacks category {category_id} of dataset {dataset_name}'s metadata: "
                    "register the dataset with its own categories"
                )
        for annotation in self._annotations():
            annotation.setdefault("iscrowd", 0)
            for key in ("area", "bbox"):
                if key not in annotation:
                    raise UserError(
                        f"annotation {annotation['id']} of {path} has no {key}, which AP needs: "
                        "complete the file"
                    )

    def _annotations(self) -> list[dict[str, Any]]:
        return self._coco_api.dataset.get("annotations", [])

    def _tasks_from_predictions(self, predictions: list[dict[str, Any]]) -> list[str]:
        tasks = super()._tasks_from_predictions(predictions)
        if "segm" in tasks and not all(a.get("segmentation") for a in self._annotations()):
            logger.warning("Labels without segmentation: the masks' AP is left out")
            tasks.remove("segm")
        return tasks

    def _derive_coco_results(
        self, coco_eval: Any, iou_type: str, class_names: list[str] | None = None
    ) -> dict[str, float]:
        if class_names is not None:
            class_names = class_names[: len(self._metadata.thing_dataset_id_to_contiguous_id)]
        return super()._derive_coco_results(coco_eval, iou_type, class_names)


def build_coco_panoptic_evaluator(dataset_name: str, output_dir: str) -> DatasetEvaluator:
    """Panoptic quality and, where the file of ``json_file`` exists, AP of the things.

    Panoptic quality is by detectron2 where the package panopticapi is installed, else by
    :class:`PanopticEvaluator`, which gives the same numbers.

    Raises:
        UserError: the metadata lacks an entry, or an annotation file is at fault.
    """
    # Checks metadata and file whichever of the two is used.
    panoptic: DatasetEvaluator = PanopticEvaluator.from_dataset(dataset_name)
    if importlib.util.find_spec("panopticapi") is not None:
        panoptic = COCOPanopticEvaluator(dataset_name, output_dir)
    instances_json = MetadataCatalog.get(dataset_name).get("json_file")
    if not instances_json or not PathManager.isfile(instances_json):
        logger.warning("%s: no instance annotations, hence no AP", dataset_name)
        return DatasetEvaluators([panoptic])
    return DatasetEvaluators([COCOInstanceEvaluator(dataset_name, output_dir), panoptic])

"""Find the evaluator of a dataset."""

import os
from collections.abc import Callable
from functools import partial

from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator

from d2video.data.class_matching import ClassMatch
from d2video.data.label_use import LabelUse
from d2video.data.model_records import is_label_set
from d2video.evaluation.classification.evaluator import VideoClassificationEvaluator
from d2video.evaluation.coco import COCOInstanceEvaluator, build_coco_panoptic_evaluator
from d2video.evaluation.labels import build_label_evaluator
from d2video.evaluation.mapped import MappedClasses
from d2video.evaluation.mot.evaluator import MOTEvaluator
from d2video.evaluation.restoration.evaluator import RestorationEvaluator
from d2video.evaluation.vis.evaluator import YTVISEvaluator
from d2video.utils.errors import UserError
from d2video.utils.files import data_set_folder

# By the ``evaluator_type`` of the dataset's metadata; called as ``f(dataset_name, output_dir)`` or, where
# the model has other classes than the dataset or numbers them otherwise, with a third argument: the
# ClassMatch. That of "labels" takes ``use`` as well.
# Projects may add their own.
EVALUATOR_REGISTRY: dict[str, Callable[..., DatasetEvaluator]] = {
    "coco": COCOInstanceEvaluator.from_dataset,
    "coco_panoptic_seg": build_coco_panoptic_evaluator,
    "labels": build_label_evaluator,
    "mot": MOTEvaluator.from_dataset,
    "mots": MOTEvaluator.from_dataset,
    "restoration": RestorationEvaluator.from_dataset,
    "video_classification": VideoClassificationEvaluator.from_dataset,
    "ytvis": YTVISEvaluator.from_dataset,
}


def evaluation_folder(output_dir: str, dataset_name: str) -> str:
    """Where the evaluator of a dataset writes its files."""
    return str(data_set_folder(os.path.join(output_dir, "inference"), dataset_name))


def build_evaluator(
    dataset_name: str,
    output_dir: str,
    classes: ClassMatch | None = None,
    use: LabelUse | None = None,
) -> DatasetEvaluator:
    """The evaluator of a registered dataset.

    Args:
        dataset_name: as in ``DATASETS.TEST``.
        output_dir: folder for the files that the evaluator writes.
        classes: of the model and the dataset, see :func:`match_test_sets`. The metrics are those of the
            classes that both have, averaged over them; None: the model has the dataset's classes, and
            numbers them as it does.
        use: the model's, see :func:`~d2video.data.model_records.label_use`: what is scored of a set of
            labels. None: all that its labels allow.

    Raises:
        UserError: the dataset's metadata names no ``evaluator_type``, or an unknown one.
    """
    evaluator_type = MetadataCatalog.get(dataset_name).get("evaluator_type")
    if evaluator_type not in EVALUATOR_REGISTRY:
        fault = "no evaluator_type" if evaluator_type is None else f"'{evaluator_type}'"
        raise UserError(
            f"dataset {dataset_name} cannot be evaluated: its metadata has {fault}; name another "
            "one in DATASETS.TEST, or set evaluator_type to one of "
            f"{', '.join(sorted(EVALUATOR_REGISTRY))}"
        )
    build = EVALUATOR_REGISTRY[evaluator_type]
    if is_label_set(dataset_name):
        build = partial(build, use=use)
    if classes is None:
        return build(dataset_name, output_dir)
    return MappedClasses(build(dataset_name, output_dir, classes), classes)

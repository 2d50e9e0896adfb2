"""Find the evaluator of a dataset."""

from collections.abc import Callable

from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator

from d2video.utils.errors import UserError

EvaluatorFactory = Callable[[str, str], DatasetEvaluator]

# By the ``evaluator_type`` of the dataset's metadata; called as ``f(dataset_name, output_dir)``.
EVALUATOR_REGISTRY: dict[str, EvaluatorFactory] = {}


def register_evaluator(evaluator_type: str) -> Callable[[EvaluatorFactory], EvaluatorFactory]:
    """Decorate the factory of the evaluator for datasets of this ``evaluator_type``."""

    def register(factory: EvaluatorFactory) -> EvaluatorFactory:
        assert evaluator_type not in EVALUATOR_REGISTRY, f"{evaluator_type} is registered twice"
        EVALUATOR_REGISTRY[evaluator_type] = factory
        return factory

    return register


def build_evaluator(dataset_name: str, output_dir: str) -> DatasetEvaluator:
    """The evaluator of a registered dataset.

    Args:
        dataset_name: as in ``DATASETS.TEST``.
        output_dir: folder for the files that the evaluator writes.

    Raises:
        UserError: the dataset's metadata names no ``evaluator_type``, or one that nobody registered.
    """
    evaluator_type = MetadataCatalog.get(dataset_name).get("evaluator_type", None)
    if evaluator_type not in EVALUATOR_REGISTRY:
        fault = "no evaluator_type" if evaluator_type is None else f"'{evaluator_type}'"
        raise UserError(
            f"dataset {dataset_name} cannot be evaluated: its metadata has {fault}; name another "
            "one in DATASETS.TEST, or set evaluator_type to one of "
            f"{', '.join(sorted(EVALUATOR_REGISTRY))}"
        )
    return EVALUATOR_REGISTRY[evaluator_type](dataset_name, output_dir)

"""A model's answers in the classes of a dataset that numbers them otherwise."""

from collections.abc import Mapping, Sequence, Sized
from typing import Any

import torch
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Instances
from torch import Tensor

from d2video.data.class_matching import ClassMatch
from d2video.structures.answers import PanopticMap
from d2video.structures.mask_answers import check_panoptic
from d2video.utils.errors import UserError


class MappedClasses(DatasetEvaluator):
    """Hands the answers to another evaluator with the dataset's class indices.

    What is predicted of a class that the dataset lacks is left out; its panoptic segments become void.
    ``scores`` of classifying models stay as they are: all classes of the model compete, and
    :class:`VideoClassificationEvaluator` maps the labels instead.
    """

    def __init__(self, evaluator: DatasetEvaluator, classes: ClassMatch) -> None:
        """
        Args:
            evaluator: of the dataset.
            classes: of the model and the dataset.
        """
        self.evaluator = evaluator
        self._to_data = classes.to_data

    def reset(self) -> None:
        """As the other evaluator."""
        self.evaluator.reset()

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Any]) -> None:
        """Take a model's answers, see :mod:`d2video.structures.answers`; nothing that is handed in
        changes.

        Raises:
            UserError: an answer is of a class without a name; or what the other evaluator raises.
        """
        self.evaluator.process(inputs, [self._answer(each) for each in outputs])

    def evaluate(self) -> Any:
        """As the other evaluator."""
        return self.evaluator.evaluate()

    def _answer(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        mapped = dict(answer)
        if "instances" in answer:
            mapped["instances"] = self._instances(answer["instances"])
        if "frames" in answer:
            mapped["frames"] = [self._instances(frame) for frame in answer["frames"]]
        if "pred_labels" in answer:
            mapped |= self._tracks(answer)
        if "panoptic_seg" in answer:
            check_panoptic(answer["panoptic_seg"], "the model's answer")
            mapped["panoptic_seg"] = self._panoptic(*answer["panoptic_seg"])
        return mapped

    def _instances(self, instances: Instances) -> Instances:
        classes = instances.pred_classes
        kept, labels = self._map(classes)
        mapped = Instances(instances.image_size)
        for name, value in instances.get_fields().items():
            mapped.set(name, _take(value, kept))
        mapped.pred_classes = classes.new_tensor(labels)
        return mapped

    def _tracks(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        kept, labels = self._map(answer["pred_labels"])
        taken = {
            key: _take(value, kept)
            for key, value in answer.items()
            # The evaluator itself reports unequal numbers and other faults.
            if key.startswith("pred_")
            and isinstance(value, Sized)
            and len(value) == len(answer["pred_labels"])
        }
        return taken | {"pred_labels": labels}

    def _panoptic(self, id_map: Tensor, segments: Sequence[Mapping[str, Any]]) -> PanopticMap:
        kept, labels = self._map([segment["category_id"] for segment in segments])
        mapped: Any = [
            {**segments[k], "category_id": label} for k, label in zip(kept, labels, strict=True)
        ]
        void = [segment["id"] for k, segment in enumerate(segments) if k not in kept]
        hidden = torch.isin(id_map, id_map.new_tensor(void))
        return id_map.masked_fill(hidden, 0), mapped

    def _map(self, classes: Tensor | Sequence[int]) -> tuple[list[int], list[int]]:
        """Places of those that the dataset has, and their indices there."""
        kept, labels = [], []
        for place, index in enumerate(torch.as_tensor(classes, dtype=torch.int64).tolist()):
            if not 0 <= index < len(self._to_data):
                raise UserError(
                    f"the model predicts class {index}, but only classes 0 to "
                    f"{len(self._to_data) - 1} have a name: set the model's number of classes to that "
                    "of its training set"
                )
            label = self._to_data[index]
            if label is not None:
                kept.append(place)
                labels.append(label)
        return kept, labels


def _take(values: Any, places: list[int]) -> Any:
    """Some of a list, or of what is indexed like a tensor."""
    if len(places) == len(values):
        return values
    if isinstance(values, list | tuple):
        return [values[place] for place in places]
    return values[places]

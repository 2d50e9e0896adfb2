"""Evaluation of video classification while the model runs: top-1, top-5, mean class accuracy."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from d2video.data.class_matching import ClassMatch
from d2video.evaluation.base import GatheringEvaluator
from d2video.evaluation.classification.confusion_matrix import draw_confusion
from d2video.evaluation.metadata import required_metadata
from d2video.structures.answers import VideoScores
from d2video.structures.class_scores import top_classes
from d2video.utils.errors import UserError
from d2video.utils.files import write_json

logger = logging.getLogger(__name__)

PREDICTIONS_NAME = "predictions.json"
CONFUSION_NAME = "confusion.png"
TOPK = 5
_MOST_CONFUSED = 10


class Prediction(NamedTuple):
    """The answer to a video.

    Attributes:
        file_name: of the video, or of its features.
        label: the true class, as the model numbers it; ``None`` where it is secret, or the model lacks it.
        top: the five best classes (all where there are fewer) and their scores, best first.
    """

    file_name: str
    label: int | None
    top: list[tuple[int, float]]


class VideoClassificationEvaluator(GatheringEvaluator[int, Prediction, VideoScores]):
    """Top-1, top-5 and mean class accuracy, a table of the classes, and what was confused.

    A video counts for top-k where its class is among the first k of :func:`top_classes`, so that
    equal scores go by class index, and of K < 5 classes top-5 is 100 %. Mean class accuracy is the
    mean of the classes' top-1 accuracies; classes without videos are left out. What is scored is
    what the file of predictions holds.

    An input has ``video_id``, ``file_name`` (else ``feature_file``) and, where it is known,
    ``label``; an answer ``scores``, float (K,), higher for likelier classes.

    The results ``classification`` are ``top1``, ``top5``, ``mean_class_accuracy`` and, by class,
    ``top1-<name>``: percentages, nan for a class without videos.
    """

    name = "classification"
    noun = "video"
    answer_key, answer_noun = "scores", "scores of classes"
    unique_id = "video_id"

    def __init__(
        self,
        class_names: Sequence[str],
        output_dir: str,
        *,
        source: str,
        classes: ClassMatch | None = None,
    ) -> None:
        """
        Args:
            class_names: by the inputs' label.
            output_dir: folder for ``predictions.json`` and ``confusion.png``.
            source: what messages call the data.
            classes: of the model and the data. All classes of the model compete, and results and files
                have the model's; videos of others are not scored. None: both have the same.
        """
        self._owner = "dataset" if classes is None else "model"  # of the classes, for messages
        self._num_labels = len(class_names)
        self._to_model = range(self._num_labels) if classes is None else classes.to_model
        self.class_names = list(class_names if classes is None else classes.model_names)
        self._output_dir = output_dir
        super().__init__(source)

    @classmethod
    def from_dataset(
        cls, dataset_name: str, output_dir: str, classes: ClassMatch | None = None
    ) -> "VideoClassificationEvaluator":
        """The evaluator of a registered dataset, whose classes may be known once it is read; for
        ``classes`` see :meth:`__init__`.

        Raises:
            UserError: its metadata have no ``thing_classes``; or the loader refuses the data.
        """
        names = required_metadata(dataset_name, "thing_classes", "the names of its classes")
        return cls(names, output_dir, source=f"dataset {dataset_name}", classes=classes)

    def _key(self, given: Mapping[str, Any]) -> int:
        return given["video_id"]

    def _keep(self, given: Mapping[str, Any], answer: VideoScores) -> Prediction:
        """
        Raises:
            UserError: ``scores`` are not one for each class, or not finite; a label is not a class.
        """
        label, scores = given.get("label"), answer["scores"]
        found = Prediction(str(given.get("file_name", given.get("feature_file", ""))), None, [])
        self._check(self._describe(given["video_id"], found), label, scores)
        known = None if label is None else self._to_model[label]
        return found._replace(label=known, top=top_classes(scores, TOPK))

    def _describe(self, key: int, kept: Prediction) -> str:
        return f"video {key} ({kept.file_name})"

    def _score(self, kept: dict[int, Prediction]) -> dict[str, float]:
        self._write(kept)
        scored = [each for each in kept.values() if each.label is not None]
        if not scored:
            return {}
        if unlabelled := len(kept) - len(scored):
            logger.warning(
                "%s: %d of %d videos have no label%s and are not scored",
                *(self._source, unlabelled, len(kept)),
                "" if self._owner == "dataset" else " that the model knows",
            )
        confusion = np.zeros((len(self.class_names),) * 2, np.int64)  # (true, predicted)
        for each in scored:
            confusion[each.label, each.top[0][0]] += 1
        draw_confusion(os.path.join(self._output_dir, CONFUSION_NAME), confusion, self.class_names)
        return self._summarize(scored, confusion)

    def _check(self, where: str, label: int | None, scores: Any) -> None:
        count = len(self.class_names)
        if scores.shape != (count,):
            raise UserError(
                f"{self._source}: the model's scores of {where} have the shape "
                f"{list(scores.shape)}, the {self._owner} has {count} classes; evaluate on the dataset "
                "whose classes the model has learnt"
            )
        if not scores.isfinite().all():
            raise UserError(
                f"{self._source}: the model's scores of {where} are not finite: training has diverged "
                "or the weights are damaged; use another checkpoint"
            )
        if label is not None and not 0 <= label < self._num_labels:
            raise UserError(
                f"{self._source}: the label of {where} is {label}, but its {self._num_labels} classes "
                f"are numbered 0 to {self._num_labels - 1}"
            )

    def _write(self, predictions: Mapping[int, Prediction]) -> None:
        """``{"classes": [names], "videos": [{"video_id", "file_name", "label", "top5"}, ...]}``;
        "top5" has a dict with "label", "name" and "score" for each class, best first."""
        videos = [
            {
                "video_id": video_id,
                "file_name": each.file_name,
                "label": each.label,
                "top5": [
                    {"label": label, "name": self.class_names[label], "score": score}
                    for label, score in each.top
                ],
            }
            for video_id, each in predictions.items()
        ]
        path = os.path.join(self._output_dir, PREDICTIONS_NAME)
        write_json(path, {"classes": self.class_names, "videos": videos})
        logger.info("Wrote the predictions of %d videos to %s", len(videos), path)

    def _summarize(self, scored: Sequence[Prediction], confusion: np.ndarray) -> dict[str, float]:
        """Percentages, logged and returned."""
        in_top = [each.label in [label for label, _ in each.top] for each in scored]
        counts, hits = confusion.sum(1), confusion.diagonal()
        shown = counts > 0
        accuracy = np.full(len(counts), np.nan)
        accuracy[shown] = 100 * hits[shown] / counts[shown]
        overall = {
            "top1": 100 * float(hits.sum() / len(scored)),
            "top5": 100 * float(np.mean(in_top)),
            "mean_class_accuracy": float(accuracy[shown].mean()),
        }
        classes = zip(self.class_names, accuracy.tolist(), counts.tolist(), strict=True)
        by_class = sorted(classes, key=lambda row: (np.isnan(row[1]), -row[1]))
        logger.info(
            "Classification of %d videos:\n%s",
            len(scored),
            tabulate([overall.values()], [*overall], "pipe", floatfmt=".2f"),
        )
        columns = ("class", "top1", "videos")
        logger.info("By class:\n%s", tabulate(by_class, columns, "pipe", floatfmt=".2f"))
        if confused := most_confused(confusion, _MOST_CONFUSED):
            rows = [(*(self.class_names[i] for i in pair), count) for *pair, count in confused]
            columns = ("true class", "predicted", "videos")
            logger.info("Confused most often:\n%s", tabulate(rows, columns, "pipe"))
        return overall | {
            f"top1-{name}": value
            for name, value in zip(self.class_names, accuracy.tolist(), strict=True)
        }


def most_confused(confusion: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """(true class, predicted class, videos) of the most frequent mistakes, of at most ``most``.

    Args:
        confusion: int (K,K), numbers of videos by true and predicted class.
    """
    mistakes = confusion - np.diag(confusion.diagonal())
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    pairs = np.stack(np.unravel_index(order, mistakes.shape), 1).tolist()
    return [(i, j, int(mistakes[i, j])) for i, j in pairs if mistakes[i, j]]

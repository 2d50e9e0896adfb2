"""Evaluation of multi-object tracking while the model runs."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.structures import Instances

from d2video.data.class_matching import ClassMatch
from d2video.evaluation.base import GatheringEvaluator
from d2video.evaluation.mot.ground_truth import FrameNumbers, MOTGroundTruth, TrackResults
from d2video.evaluation.mot.metrics import Measure, Metrics, families
from d2video.evaluation.mot.report import MOTReport
from d2video.formats.mot_results import MOTResults, mot_results, mots_results, write_results
from d2video.formats.mot_sequence import MOTSequence
from d2video.structures.answers import Tracks
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

RESULTS_NAME = "results.json"


# Tracks as in the file of results, and their comparison with the labels, by class, if there are any.
_Compared = tuple[TrackResults, dict[str, Metrics] | None]


class MOTEvaluator(GatheringEvaluator[str, _Compared, Tracks]):
    """HOTA, CLEAR and identity metrics of tracks, and the files for the benchmarks' servers.

    An input has the name of its ``sequence``; an answer ``image_size`` (H, W) and ``frames``, one
    ``Instances`` a frame with ``pred_boxes`` (XYXY, pixels of the original), ``scores``,
    ``pred_classes``, ``track_ids`` and, for MOTS, ``pred_rles``. What is scored is what the files
    hold.

    The results ``mot`` are those of :meth:`~d2video.evaluation.mot.report.MOTReport.results`, for all
    sequences together.

    Attributes:
        ground_truth: the split's sequences and labels.
        scored: the names of the classes that are scored.
        report: of the last evaluation; None before, and without labels.
    """

    name = "mot"
    noun = "sequence"
    answer_key, answer_noun = "frames", "tracks, frame by frame"

    def __init__(
        self,
        ground_truth: MOTGroundTruth,
        output_dir: str | None,
        classes: ClassMatch | None = None,
    ) -> None:
        """
        Args:
            ground_truth: the split's sequences and, where there are any, their labels.
            output_dir: folder for ``<sequence>.txt`` and ``results.json``; None: they are not written.
            classes: those that the model has are scored; None: all.
        """
        self.ground_truth = ground_truth
        names = ground_truth.class_names
        common = names if classes is None else [names[label] for label in classes.common]
        self.scored = [name for name in ground_truth.scored_classes if name in common]
        rule = ground_truth.rule
        if rule is not None and not self.scored:
            raise UserError(
                f"{ground_truth.source}: {ground_truth.benchmark} scores only {', '.join(rule.classes)}, and "
                "the model has none of them: train it on one, or evaluate it on another set"
            )
        others = [name for name in common if name not in self.scored]
        if others:
            logger.info("%s does not score %s", ground_truth.benchmark, ", ".join(others))
        self._output_dir = output_dir
        self.report: MOTReport | None = None
        super().__init__(ground_truth.source, ground_truth.sequences)

    @classmethod
    def from_dataset(
        cls, dataset_name: str, output_dir: str | None, classes: ClassMatch | None = None
    ) -> "MOTEvaluator":
        """The evaluator of a registered dataset, see :meth:`MOTGroundTruth.from_dataset`; for
        ``classes`` see :meth:`__init__`."""
        return cls(MOTGroundTruth.from_dataset(dataset_name), output_dir, classes)

    def _key(self, given: Mapping[str, Any]) -> str:
        if "sequence" not in given:
            raise UserError(
                f"{self._source}: the test mapper does not hand on the sequences' names: choose one "
                "for tracking data in INPUT.DATASET_MAPPER"
            )
        return given["sequence"]

    def _keep(self, given: Mapping[str, Any], answer: Tracks) -> _Compared:
        """
        Raises:
            UserError: an unknown class, frames that are not as many or not as large as the sequence's,
                or what :func:`mot_results` or :func:`mots_results` refuses.
        """
        sequence = self.ground_truth.sequences[given["sequence"]]
        return self._compared(sequence.name, self._read_answer(sequence, answer))

    def read_results(self, path: str, frame_numbers: FrameNumbers | None = None) -> str:
        """Take the results in a folder of files, or in a file, in place of a model's answers; see
        :meth:`MOTGroundTruth.read_results`.

        Returns:
            how much there is, in words.
        """
        truth = self.ground_truth
        results = truth.read_results(path, frame_numbers)
        self._kept |= {name: self._compared(name, each) for name, each in results.items()}
        rows = sum(map(len, results.values()))
        frames = sum(each.num_frames for each in truth.sequences.values())
        what = "masks" if truth.has_masks else "boxes"
        return f"{rows} {what} in {frames} frames of {len(results)} sequences"

    def measure(self, measure: Measure) -> dict[str, dict[str, Any]] | None:
        """Apply ``measure`` to what TrackEval prepares of each labelled sequence.

        Returns:
            In the main process its results by sequence and scored class; None in the others.
        """
        kept = self.gather()
        if kept is None:
            return None
        nothing = self._results([], ())
        results = {
            name: kept[name][0] if name in kept else nothing for name in self.ground_truth.rows
        }
        return {name: self._by_class(name, each, measure) for name, each in results.items()}

    def _compared(self, name: str, results: TrackResults) -> _Compared:
        if name not in self.ground_truth.rows:
            return results, None
        return results, self._by_class(name, results, families)

    def _by_class(self, name: str, results: TrackResults, measure: Measure) -> dict[str, Any]:
        by_class = self.ground_truth.compare(name, results, measure)
        return {class_name: by_class[class_name] for class_name in self.scored}

    def _score(self, kept: dict[str, _Compared]) -> dict[str, float]:
        truth = self.ground_truth
        nothing = self._results([], ())
        kept |= {name: self._compared(name, nothing) for name in self._missing(kept)}
        if self._output_dir is not None:
            for name, (results, _) in kept.items():
                path = os.path.join(self._output_dir, f"{name}.txt")
                write_results(path, results, truth.sequences[name].result_numbers)
            logger.info("Wrote the tracks of %d sequences to %s", len(kept), self._output_dir)
        metrics = {name: each for name, (_, each) in kept.items() if each is not None}
        if not metrics:
            return {}
        self.report = report = MOTReport.of(truth, metrics)
        if self._output_dir is not None:
            report.write(os.path.join(self._output_dir, RESULTS_NAME))
        logger.info("Tracking by the rules of %s:\n%s", truth.benchmark, report.table())
        return report.results()

    def _results(self, frames: Sequence[Instances], numbers: Sequence[int]) -> TrackResults:
        make = mots_results if self.ground_truth.has_masks else mot_results
        return make(frames, numbers, self.ground_truth.result_numbers)

    def _read_answer(self, sequence: MOTSequence, answer: Tracks) -> TrackResults:
        where = f"the model's answer to sequence {sequence.name}"
        size = list(answer["image_size"])
        if sequence.size is not None and size != [*sequence.size]:
            raise UserError(
                f"{where}: image_size is {size}, the sequence's {[*sequence.size]}; tracks must be in "
                "pixels of the original frames"
            )
        frames, names = answer["frames"], self.ground_truth.class_names
        if len(frames) != sequence.num_frames:
            raise UserError(
                f"{where}: {len(frames)} frames, the sequence has {sequence.num_frames}; answer "
                "each of them"
            )
        numbers = sequence.result_numbers
        for t, frame in zip(numbers, frames, strict=True):
            classes = frame.pred_classes.tolist() if len(frame) else ()
            if odd := [k for k in classes if not 0 <= k < len(names)]:
                raise UserError(
                    f"{where}, frame {t}: class {odd[0]}; the dataset's classes are "
                    + ", ".join(f"{k} ({name})" for k, name in enumerate(names))
                    + ": evaluate a model of these classes"
                )
        try:
            results = self._results(frames, numbers)
        except UserError as error:
            raise UserError(f"{where}, {error}") from None
        if isinstance(results, MOTResults):
            return results
        for place, mask in zip(results.frame, results.rle):
            if list(mask["size"]) != size:
                raise UserError(
                    f"{where}, frame {numbers[place - 1]}: a mask's size is {list(mask['size'])}, "
                    f"the sequence's {size}"
                )
        return results

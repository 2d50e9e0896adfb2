"""Evaluation of multi-object tracking while the model runs."""

import logging
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from d2video.evaluation.build import register_evaluator
from d2video.evaluation.mot.ground_truth import MOTGroundTruth, TrackResults
from d2video.evaluation.mot.metrics import Metrics
from d2video.evaluation.mot.report import COMBINED, MOTReport
from d2video.formats.mot_results import mot_results, mots_results, write_results
from d2video.formats.mot_sequence import MOTSequence
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

RESULTS_NAME = "results.json"


class MOTEvaluator(DatasetEvaluator):
    """HOTA, CLEAR and identity metrics of tracks, and the files for the benchmarks' servers.

    Tracks are compared with the labels in :meth:`process`, in the process that made them, so that
    the work is shared. What is scored is what stands in the files.
    """

    def __init__(self, ground_truth: MOTGroundTruth, output_dir: str) -> None:
        """
        Args:
            ground_truth: the split's sequences and, where there are any, their labels.
            output_dir: folder for ``<sequence>.txt`` and ``results.json``.
        """
        self._ground_truth = ground_truth
        self._output_dir = output_dir
        self.reset()

    def reset(self) -> None:
        """Forget all sequences."""
        self._results: dict[str, TrackResults] = {}
        self._metrics: dict[str, Metrics] = {}

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Take a model's answers to videos; nothing that is handed in changes.

        Args:
            inputs: one dict a video, with ``sequence``, its name. A sequence that was seen before
                is skipped.
            outputs: one dict a video: ``image_size`` (H, W) and ``frames``, one ``Instances`` a
                frame with ``pred_boxes`` (XYXY, pixels of the original), ``scores``,
                ``pred_classes``, ``track_ids`` and, for MOTS, ``pred_rles``.

        Raises:
            UserError: ``sequence`` or ``frames`` is not there, an unknown sequence or class, frames
                that are not as many or not as large as the sequence's, or what :func:`mot_results`
                or :func:`mots_results` refuses.
        """
        source = self._ground_truth.source
        for given, answer in zip(inputs, outputs, strict=True):
            if "frames" not in answer:
                raise UserError(
                    f"{source}: the model does not answer with tracks, frame by frame: choose one "
                    "that does in MODEL.META_ARCHITECTURE, or another data set in DATASETS.TEST"
                )
            if "sequence" not in given:
                raise UserError(
                    f"{source}: the test mapper does not hand on the sequences' names: choose one "
                    "for tracking data in INPUT.DATASET_MAPPER"
                )
            name = given["sequence"]
            # The distributed sampler repeats sequences to give every process as many.
            if name in self._results:
                continue
            if name not in self._ground_truth.sequences:
                raise UserError(
                    f"sequence {name} is not in {source}: evaluate on the data "
                    "set that the videos come from"
                )
            results = self._read_answer(self._ground_truth.sequences[name], answer)
            if name in self._ground_truth.rows:
                self._metrics[name] = self._ground_truth.compare(name, results)
            self._results[name] = results

    def evaluate(self) -> OrderedDict[str, dict[str, float]]:
        """Gather all processes' sequences, write the files and, where there are labels, score them.

        Returns:
            In the main process ``{"mot": {...}}`` with what :func:`~d2video.evaluation.mot.metrics.summarize`
            gives for all sequences together. Empty in the other processes, and where nothing has labels.

        Raises:
            UserError: the files cannot be written.
        """
        comm.synchronize()
        gathered = comm.gather((self._results, self._metrics), dst=0)
        if not comm.is_main_process():
            return OrderedDict()
        results: dict[str, TrackResults] = {}
        metrics: dict[str, Metrics] = {}
        for more_results, more_metrics in gathered:
            results, metrics = {**more_results, **results}, {**more_metrics, **metrics}
        self._add_missing(results, metrics)
        for name in self._ground_truth.sequences:
            write_results(os.path.join(self._output_dir, f"{name}.txt"), results[name])
        logger.info("Wrote the tracks of %d sequences to %s", len(results), self._output_dir)
        if not metrics:
            logger.info("%s has no labels: nothing is scored", self._ground_truth.source)
            return OrderedDict()
        report = MOTReport.of(self._ground_truth, metrics)
        report.write(os.path.join(self._output_dir, RESULTS_NAME))
        logger.info(
            "Tracking by the rules of %s:\n%s", self._ground_truth.benchmark, report.table()
        )
        return OrderedDict(mot=report.summaries[COMBINED])

    def _add_missing(self, results: dict[str, TrackResults], metrics: dict[str, Metrics]) -> None:
        """Empty results for sequences without an answer."""
        truth = self._ground_truth
        missing = [name for name in truth.sequences if name not in results]
        if missing:
            logger.warning(
                "%d of %d sequences have no answer (the first is %s); their objects count as missed",
                len(missing),
                len(truth.sequences),
                missing[0],
            )
        for name in missing:
            results[name] = mots_results([]) if truth.has_masks else mot_results([])
            if name in truth.rows:
                metrics[name] = truth.compare(name, results[name])

    def _read_answer(self, sequence: MOTSequence, answer: Mapping[str, Any]) -> TrackResults:
        where = f"the model's answer to sequence {sequence.name}"
        size = [sequence.height, sequence.width]
        if list(answer["image_size"]) != size:
            raise UserError(
                f"{where}: image_size is {list(answer['image_size'])}, the sequence's {size}; tracks "
                "must be in pixels of the original frames"
            )
        frames = answer["frames"]
        if len(frames) != sequence.num_frames:
            raise UserError(
                f"{where}: {len(frames)} frames, the sequence has {sequence.num_frames}; answer "
                "each of them"
            )
        for t, frame in enumerate(frames, 1):
            if len(frame) and bool((frame.pred_classes != 0).any()):
                raise UserError(
                    f"{where}, frame {t}: class {int(frame.pred_classes.max())}; these data sets "
                    "have class 0 alone: evaluate a model that answers it alone"
                )
        try:
            if not self._ground_truth.has_masks:
                return mot_results(frames)
            results = mots_results(frames)
        except UserError as error:
            raise UserError(f"{where}, {error}") from None
        for t, mask in zip(results.frame, results.rle):
            if list(mask["size"]) != size:
                raise UserError(
                    f"{where}, frame {t}: a mask's size is {list(mask['size'])}, the sequence's "
                    f"{size}"
                )
        return results


@register_evaluator("mot")
@register_evaluator("mots")
def build_mot_evaluator(dataset_name: str, output_dir: str) -> MOTEvaluator:
    """See :meth:`MOTGroundTruth.from_dataset`."""
    return MOTEvaluator(MOTGroundTruth.from_dataset(dataset_name), output_dir)

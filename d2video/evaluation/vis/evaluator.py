"""Evaluation of video instance segmentation while the model runs."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.utils.logger import create_small_table
from tabulate import tabulate

from d2video.data.class_matching import ClassMatch
from d2video.evaluation.base import GatheringEvaluator
from d2video.evaluation.metadata import required_metadata
from d2video.evaluation.vis.accumulate import Accumulated, accumulate, match
from d2video.evaluation.vis.compare import Unit, compare_video
from d2video.evaluation.vis.entry_store import EntryStore, StoredEntries
from d2video.evaluation.vis.ground_truth import RLE, VideoTruth, YTVISGroundTruth
from d2video.evaluation.vis.results import check_results, write_results
from d2video.formats.geometry.rle import encode_tracks
from d2video.structures.answers import VideoInstances
from d2video.structures.mask_answers import check_dense, check_rle, describe_value
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

# What papers on YouTube-VIS report, and APs, APm, APl.
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10")


# Of a video the entries for the result file, and the comparison with the labels.
_Compared = tuple[StoredEntries, list[Unit]]


class YTVISEvaluator(GatheringEvaluator[int, _Compared, VideoInstances]):
    """AP and AR of mask tracks by the YouTube-VIS protocol, and the files for its servers.

    An input has its ``video_id``; an answer ``image_size`` (H, W), ``pred_scores`` [N],
    ``pred_labels`` [N], contiguous, and ``pred_masks``: [N][L] compressed RLE dicts, None where the
    object is absent, or a bool tensor (N, L, H, W).

    Attributes:
        ground_truth: the labels.
        scored: category id → name, of the classes that are scored.

    The results ``segm`` are AP, AP50, AP75, APs, APm, APl, AR1, AR10 and an AP for each class,
    ``AP-<name>``: percentages, nan where no labelled track is of that kind.
    """

    name = "segm"
    noun = "video"
    answer_key, answer_noun = "pred_masks", "mask tracks"

    def __init__(
        self,
        ground_truth: YTVISGroundTruth,
        dataset_id_to_contiguous_id: Mapping[int, int],
        output_dir: str | None,
        classes: ClassMatch | None = None,
    ) -> None:
        """
        Args:
            ground_truth: the labels, or the videos and categories of a split without labels.
            dataset_id_to_contiguous_id: the file's category ids → the answers' labels.
            output_dir: folder for ``results.json`` and ``results.zip``; None: they are not written.
            classes: those that the model has are scored; None: all.

        Raises:
            UserError: a category id is not in the annotation file.
        """
        for category_id in dataset_id_to_contiguous_id:
            if category_id not in ground_truth.categories:
                raise UserError(
                    f"category id {category_id} of the dataset's metadata is not in "
                    f"{ground_truth.source}; register the dataset with its own categories"
                )
        self.ground_truth = ground_truth
        self._category_ids = {label: i for i, label in dataset_id_to_contiguous_id.items()}
        self.scored = {  # category id → name
            category_id: name
            for category_id, name in ground_truth.categories.items()
            if classes is None or dataset_id_to_contiguous_id.get(category_id) in classes.common
        }
        self._output_dir = output_dir
        super().__init__(ground_truth.source, ground_truth.videos)

    def reset(self) -> None:
        """Forget all answers."""
        super().reset()
        self._store = EntryStore()

    @classmethod
    def from_dataset(
        cls, dataset_name: str, output_dir: str | None, classes: ClassMatch | None = None
    ) -> "YTVISEvaluator":
        """The evaluator of a dataset registered with ``register_ytvis_instances``; for ``classes`` see
        :meth:`__init__`.

        Raises:
            UserError: the metadata lacks ``json_file``, or the file is at fault.
        """
        path, ids = (
            required_metadata(dataset_name, key, "register_ytvis_instances")
            for key in ("json_file", "thing_dataset_id_to_contiguous_id")
        )
        return cls(YTVISGroundTruth.from_json(path), ids, output_dir, classes)

    def _key(self, given: Mapping[str, Any]) -> int:
        return given["video_id"]

    def _keep(self, given: Mapping[str, Any], answer: VideoInstances) -> _Compared:
        """
        Raises:
            UserError: an unknown label, a score that is not finite, or masks that are not one a frame
                or not of the video's size.
        """
        video = self.ground_truth.videos[given["video_id"]]
        category_ids, scores, masks = self._read_answer(video, answer)
        entries = [
            {"video_id": video.video_id, "category_id": c, "score": s, "segmentations": list(m)}
            for c, s, m in zip(category_ids, scores, masks)
        ]
        return self._compared(video, entries)

    def take_results(self, results: Any, source: str) -> str:
        """Take the content of a file of results in place of a model's answers.

        Returns:
            how much there is, in words.

        Raises:
            UserError: the first fault, with its place in the file, ``source``.
        """
        check_results(results, self.ground_truth, source)
        by_video: dict[int, list[dict[str, Any]]] = {i: [] for i in self.ground_truth.videos}
        for entry in results:
            by_video[entry["video_id"]].append(entry)
        for video_id, entries in by_video.items():
            self._kept[video_id] = self._compared(self.ground_truth.videos[video_id], entries)
        answered = sum(map(bool, by_video.values()))
        return f"{len(results)} tracks in {answered} of {len(by_video)} videos"

    def _compared(self, video: VideoTruth, entries: list[dict[str, Any]]) -> _Compared:
        stored = self._store.put(entries)
        if not self.ground_truth.has_labels:
            return stored, []
        keys = ("category_id", "score", "segmentations")
        category_ids, scores, masks = ([entry[key] for entry in entries] for key in keys)
        return stored, compare_video(video, category_ids, scores, masks)

    def _score(self, kept: dict[int, _Compared]) -> dict[str, float]:
        missing = self._missing(kept)
        if self._output_dir is not None:
            all_entries = (entry for entries, _ in kept.values() for entry in entries)
            path = write_results(all_entries, self._output_dir)
            archive = path.with_suffix(".zip")
            logger.info("Wrote %s and, for the evaluation server, %s", path, archive)
        videos = self.ground_truth.videos.values()
        if not any(not track.is_crowd for video in videos for track in video.tracks):
            return {}  # rather than an AP of nan
        units = [unit for _, compared in kept.values() for unit in compared]
        for video_id in missing:
            units += compare_video(self.ground_truth.videos[video_id], [], [], [])
        units = [unit for unit in units if unit.category_id in self.scored]
        curves = accumulate(units, match(units), list(self.scored))
        return self._summarize(curves)

    def _read_answer(
        self, video: VideoTruth, answer: VideoInstances
    ) -> tuple[list[int], list[float], Sequence[Sequence[RLE | None]]]:
        """Category ids, scores and masks of the N predictions, checked."""
        where = f"the model's answer to video {video.video_id}"
        size = [video.height, video.width]
        if list(answer["image_size"]) != size:
            raise UserError(
                f"{where}: image_size is {list(answer['image_size'])}, the video's {size}; masks "
                "must have the size of the original frames"
            )
        labels = [int(label) for label in answer["pred_labels"]]
        scores = [float(score) for score in answer["pred_scores"]]
        masks = answer["pred_masks"]
        if not isinstance(masks, list | tuple):
            lists = "N lists of L compressed COCO RLEs and None"
            check_dense(masks, "NLHW", f"{where}, pred_masks", lists)
            # An empty mask and None are the same to the protocol.
            masks = encode_tracks(masks.cpu())
        if not len(labels) == len(scores) == len(masks):
            raise UserError(
                f"{where}: {len(labels)} pred_labels, {len(scores)} pred_scores and {len(masks)} "
                "pred_masks; their numbers must be equal"
            )
        for n, (label, score, track) in enumerate(zip(labels, scores, masks)):
            if label not in self._category_ids:
                raise UserError(
                    f"{where}, prediction {n}: label {label} is not one of the dataset's "
                    f"{len(self._category_ids)} classes; evaluate with the dataset's class count"
                )
            if not math.isfinite(score):
                raise UserError(f"{where}, prediction {n}: score {score} is not finite")
            if not isinstance(track, list | tuple):
                raise UserError(
                    f"{where}, prediction {n}, pred_masks: {describe_value(track)}; expected a list of "
                    "one compressed COCO RLE a frame, None where the object is absent"
                )
            if len(track) != video.num_frames:
                raise UserError(
                    f"{where}, prediction {n}: {len(track)} masks for {video.num_frames} frames; "
                    "give one a frame, None where the object is absent"
                )
            for t, mask in enumerate(track):
                if mask is not None:
                    check_rle(mask, f"{where}, prediction {n}, frame {t}", "None")
                if mask is not None and mask["size"] != size and list(mask["size"]) != size:
                    raise UserError(
                        f"{where}, prediction {n}, frame {t}: the mask's size is "
                        f"{list(mask['size'])}, the video's {size}"
                    )
        return [self._category_ids[label] for label in labels], scores, masks

    def _summarize(self, curves: Accumulated) -> dict[str, float]:
        """Percentages by metric and by class, logged and returned."""
        stats = curves.summarize()
        results = {name: _percent(stats[name]) for name in METRICS}
        logger.info("Evaluation results for segm:\n%s", create_small_table(results))
        per_class = {
            f"AP-{name}": _percent(curves.summarize(k)["AP"])
            for k, name in enumerate(self.scored.values())
        }
        rows = zip(self.scored.values(), per_class.values(), strict=True)
        logger.info("AP by class:\n%s", tabulate(rows, ("class", "AP"), "pipe", floatfmt=".3f"))
        return results | per_class


def _percent(fraction: float) -> float:
    return 100 * fraction if fraction > -1 else math.nan

"""The labels that tracks are compared with, all rows of them: what counts is the protocol's to say."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.evaluation.mot.metrics import (
    BENCHMARKS,
    Metrics,
    box_metrics,
    mask_metrics,
    require_trackeval,
)
from d2video.evaluation.mot.records import rows_of_annotations, sequence_of_record
from d2video.formats.mot_ground_truth import (
    MOTRows,
    MOTSRows,
    read_mot_ground_truth,
    read_mots_ground_truth,
)
from d2video.formats.mot_results import MOTResults, read_mot_results, read_mots_results
from d2video.formats.mot_sequence import MOTSequence
from d2video.utils.errors import UserError

# Boxes, or the masks of MOTS.
TrackResults = MOTResults | MOTSRows

MASK_BENCHMARKS = ("MOTS20",)


@dataclass(frozen=True)
class MOTGroundTruth:
    """The sequences of a split, read for evaluation.

    Attributes:
        source: data set or folder, for messages.
        benchmark: whose rules count: MOT15, MOT16, MOT17, MOT20, DanceTrack, MOTS20.
        sequences: name → sequence, or its part that is in the split; sorted.
        rows: name → all rows of its ``gt.txt``, or what its annotations would be there, the split's
            first frame being 1; sequences without labels are not in it.
    """

    source: str
    benchmark: str
    sequences: dict[str, MOTSequence]
    rows: dict[str, MOTRows | MOTSRows]

    def __post_init__(self) -> None:
        """
        Raises:
            UserError: an unknown benchmark, or labels but no package trackeval.
        """
        known = (*BENCHMARKS, *MASK_BENCHMARKS)
        if self.benchmark not in known:
            raise UserError(
                f"{self.source}: benchmark {self.benchmark!r} is unknown; it is one of "
                f"{', '.join(known)}"
            )
        if self.rows:
            require_trackeval()  # rather than fail after hours of tracking

    @property
    def has_masks(self) -> bool:
        """Whether masks are compared, and not boxes."""
        return self.benchmark in MASK_BENCHMARKS

    @classmethod
    def read(
        cls, source: str, benchmark: str, sequences: Sequence[MOTSequence]
    ) -> "MOTGroundTruth":
        """Read the labels.

        Raises:
            UserError: a name that two sequences have, or faulty files.
        """
        by_name = _by_name(source, sequences)
        rows: dict[str, MOTRows | MOTSRows] = {}
        for name, sequence in by_name.items():
            if sequence.gt_file is None:
                continue
            whole: MOTRows | MOTSRows
            if benchmark in MASK_BENCHMARKS:
                size = sequence.height, sequence.width
                whole = read_mots_ground_truth(sequence.gt_file, sequence.seq_length, size)
            else:
                whole = read_mot_ground_truth(sequence.gt_file, sequence.seq_length)
            rows[name] = whole.of_frames(sequence.first_frame, sequence.num_frames)
        return cls(source, benchmark, by_name, rows)

    @classmethod
    def from_records(
        cls,
        source: str,
        benchmark: str,
        records: Sequence[Mapping[str, Any]],
        class_names: Sequence[str] = (),
    ) -> "MOTGroundTruth":
        """The labels are the boxes in the annotations of tracking records: all count.

        Args:
            class_names: by category id, for messages.

        Raises:
            UserError: a benchmark of masks; a video's name that another one has or that is not the
                name of a file; or objects of another class than 0.
        """
        if benchmark in MASK_BENCHMARKS:
            raise UserError(
                f"{source}: masks are evaluated in data that register_mot reads; lay it out as "
                f"{benchmark} is, or evaluate boxes: set benchmark MOT17, evaluator_type mot"
            )
        by_name = _by_name(source, [sequence_of_record(record, source) for record in records])
        rows: dict[str, MOTRows | MOTSRows] = {
            record["sequence"]: rows_of_annotations(
                record["annotations"], class_names, f"{source}, video {record['sequence']}"
            )
            for record in records
            if "annotations" in record
        }
        return cls(source, benchmark, by_name, rows)

    @classmethod
    def from_dataset(cls, dataset_name: str) -> "MOTGroundTruth":
        """The labels of a registered data set: raw ones by the metadata's ``mot_sequences``, else
        those in its records.

        Raises:
            UserError: the metadata lack ``benchmark``; there are neither ``mot_sequences`` nor
                records; or as :meth:`read` and :meth:`from_records`.
        """
        source, metadata = f"dataset {dataset_name}", MetadataCatalog.get(dataset_name)
        benchmark, sequences = metadata.get("benchmark"), metadata.get("mot_sequences")
        has_records = dataset_name in DatasetCatalog
        if benchmark is None or (sequences is None and not has_records):
            missing = "benchmark" if benchmark is None else "mot_sequences"
            raise UserError(
                f"{source} has no {missing} in its metadata: register it with register_mot or "
                "register_coco_tracks"
            )
        if sequences is None:
            records = DatasetCatalog.get(dataset_name)  # sets the names of classes
            return cls.from_records(source, benchmark, records, metadata.get("thing_classes", ()))
        return cls.read(source, benchmark, sequences() if callable(sequences) else sequences)

    def compare(self, name: str, results: TrackResults) -> Metrics:
        """Metrics of a sequence that has labels.

        Args:
            name: of the sequence.
            results: boxes or masks, as the benchmark has them; frames count from the split's first.

        Raises:
            UserError: see :func:`box_metrics` and :func:`mask_metrics`.
        """
        length = self.sequences[name].num_frames
        truth = self.rows[name]
        if isinstance(truth, MOTSRows):
            assert isinstance(results, MOTSRows)
            return mask_metrics(truth, results, length, f"sequence {name}")
        assert isinstance(results, MOTResults)
        return box_metrics(self.benchmark, truth, results, length, f"sequence {name}")

    def read_results(self, folder: str | os.PathLike[str]) -> dict[str, TrackResults]:
        """Read and check ``<sequence>.txt`` for each sequence; a file may be empty, but not missing.

        Raises:
            UserError: names file, line and fault.
        """
        results: dict[str, TrackResults] = {}
        for name, sequence in self.sequences.items():
            path = os.path.join(folder, f"{name}.txt")
            if not os.path.isfile(path):
                raise UserError(
                    f"results {path} are missing: write one file for each sequence of {self.source}, "
                    "an empty one where nothing was found, or correct the folder"
                )
            if self.has_masks:
                size = sequence.height, sequence.width
                results[name] = read_mots_results(path, sequence.num_frames, size)
            else:
                results[name] = read_mot_results(path, sequence.num_frames)
        return results


def _by_name(source: str, sequences: Sequence[MOTSequence]) -> dict[str, MOTSequence]:
    by_name = {sequence.name: sequence for sequence in sequences}
    if len(by_name) < len(sequences):
        raise UserError(f"{source}: sequences have the same name; rename their folders")
    return dict(sorted(by_name.items()))

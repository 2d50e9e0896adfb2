"""The labels that tracks are compared with, all rows of them: what counts is the protocol's to say."""

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.evaluation.metadata import required_metadata
from d2video.evaluation.mot.metrics import (
    NUM_MOT_CLASSES,
    Measure,
    box_metrics,
    class_box_metrics,
    families,
    mask_metrics,
    require_trackeval,
)
from d2video.evaluation.mot.records import box_rows, mask_rows, sequence_of_record
from d2video.formats.faults import Tally, refuse
from d2video.formats.mot_ground_truth import (
    MOTS_IGNORE_CLASS,
    MOTRows,
    MOTSRows,
    free_class_numbers,
)
from d2video.formats.mot_labels import Labels, class_numbers, read_labels
from d2video.formats.mot_results import (
    MOTS_CAR,
    MOTS_PEDESTRIAN,
    MOTResults,
    read_mot_results,
    read_mots_results,
)
from d2video.formats.mot_rules import (
    BENCHMARKS,
    CLASS_RULES,
    MASK_BENCHMARKS,
    ClassRule,
    ObjectRule,
    object_rule,
)
from d2video.formats.mot_sequence import MOTSequence
from d2video.utils.errors import UserError

# How files of results number the frames of each sequence: as the labels, or from 0 or 1 on.
FrameNumbers = Literal["labels", "0", "1"]
# Boxes, or the masks of MOTS.
TrackResults = MOTResults | MOTSRows


@dataclass(frozen=True)
class MOTGroundTruth:
    """The sequences of a split, read for evaluation.

    Attributes:
        source: dataset or folder, for messages.
        benchmark: whose rules count: MOT15, MOT16, MOT17, MOT20, DanceTrack, MOTS20, KITTI, BDD100K.
        sequences: name → sequence, or its part that is in the split; sorted.
        rows: name → all rows of its ``gt.txt``, or what its annotations would be there, the split's
            first frame being 1; sequences without labels are not in it.
        class_names: by class index.
        class_numbers: of each class in ``rows`` and in files of results; None: the benchmark's
            pedestrians, and what else its rules say.
    """

    source: str
    benchmark: str
    sequences: dict[str, MOTSequence]
    rows: dict[str, MOTRows | MOTSRows]
    class_names: tuple[str, ...] = ("pedestrian",)
    class_numbers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            UserError: an unknown benchmark, or labels but no package trackeval.
        """
        known = (*BENCHMARKS, *CLASS_RULES)
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

    @property
    def rule(self) -> ClassRule | None:
        """The rule of a benchmark of several classes."""
        return CLASS_RULES.get(self.benchmark)

    @property
    def scored_classes(self) -> tuple[str, ...]:
        """The classes that the benchmark scores, in the order of ``class_names``."""
        rule = self.rule
        return tuple(name for name in self.class_names if rule is None or name in rule.classes)

    @property
    def result_numbers(self) -> tuple[int, ...] | None:
        """Number of each class in result files; None if they have no class column (boxes of one class)."""
        return None if len(self.class_names) == 1 and not self.has_masks else self.class_numbers

    @classmethod
    def read(
        cls, source: str, rule: ObjectRule, sequences: Sequence[MOTSequence]
    ) -> "MOTGroundTruth":
        """Read the labels; what does not count is logged.

        Raises:
            UserError: a name that two sequences have, faulty files, or no row that counts.
        """
        by_name = _by_name(source, sequences)
        labels = read_labels([*by_name.values()], rule, source, in_training=False)
        if rule.classes is None:
            rows = {name: _of_benchmark(rule, each.rows) for name, each in labels.items()}
            return cls(source, rule.benchmark, by_name, rows, rule.class_names)
        numbers = class_numbers(rule, sequences)
        rows = {name: _of_classes(each, numbers) for name, each in labels.items()}
        return cls(source, rule.benchmark, by_name, rows, rule.class_names, numbers)

    @classmethod
    def from_records(
        cls,
        source: str,
        benchmark: str,
        records: Sequence[Mapping[str, Any]],
        class_names: Sequence[str],
        class_numbers: Sequence[int] | None = None,
    ) -> "MOTGroundTruth":
        """The labels are the annotations of tracking records, and the regions to ignore: see
        :mod:`d2video.evaluation.mot.records`. Masks are compared if the benchmark has them, else boxes.

        Args:
            class_names: by category id.
            class_numbers: of the classes in files of results; None: 1 for the first, and so on, but
                not MOTS' number of regions to ignore.

        Raises:
            UserError: a video's name that another one has or that is not the name of a file; no masks,
                where they are compared; or no object that counts.
        """
        by_name = _by_name(source, [sequence_of_record(record, source) for record in records])
        masks = benchmark in MASK_BENCHMARKS
        numbers = tuple(class_numbers or free_class_numbers(len(class_names), masks=masks))
        rows: dict[str, MOTRows | MOTSRows] = {
            record["sequence"]: mask_rows(record, numbers, source)
            if masks
            else box_rows(record, numbers)
            for record in records
            if "annotations" in record
        }
        truth = cls(source, benchmark, by_name, rows, tuple(class_names), numbers)
        _require_objects(truth)
        return truth

    @classmethod
    def from_dataset(cls, dataset_name: str, *, needs_images: bool = True) -> "MOTGroundTruth":
        """The labels of a registered dataset: raw ones by the metadata's ``mot_sequences``, else
        those in its records. Which rows count is the metadata's ``mot_rule``.

        Args:
            needs_images: see :func:`~d2video.formats.mot_sequence.read_sequence`.

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
            names = required_metadata(dataset_name, "thing_classes", "register_coco_tracks")
            ids = {k: i for i, k in metadata.get("thing_dataset_id_to_contiguous_id", {}).items()}
            numbers = [ids[k] for k in range(len(names))] if ids else None
            for number in numbers or ():
                if not 0 <= number < 2**31:
                    raise UserError(
                        f"{source}: category id {number} cannot be written to result files: number "
                        "the categories from 0 or 1 on"
                    )
            return cls.from_records(source, benchmark, records, names, numbers)
        rule = metadata.get("mot_rule") or object_rule(benchmark)
        if callable(sequences):
            sequences = sequences(needs_images=needs_images)
        return cls.read(source, rule, sequences)

    def compare(
        self, name: str, results: TrackResults, measure: Measure = families
    ) -> dict[str, Any]:
        """Metrics of a sequence that has labels, by the name of the class, for ``scored_classes``.

        Args:
            name: of the sequence.
            results: boxes or masks, as the benchmark has them; frames count from the split's first.
            measure: see :func:`box_metrics`.

        Raises:
            UserError: see :func:`box_metrics` and :func:`mask_metrics`.
        """
        length, truth, where = self.sequences[name].num_frames, self.rows[name], f"sequence {name}"
        if isinstance(truth, MOTSRows):
            assert isinstance(results, MOTSRows)
            numbers = self.class_numbers or (MOTS_PEDESTRIAN,)
            each = [
                mask_metrics(truth, results, length, where, number, measure) for number in numbers
            ]
            return dict(zip(self.class_names, each, strict=True))
        assert isinstance(results, MOTResults)
        if self.class_numbers is None:
            metrics = box_metrics(self.benchmark, truth, results, length, where, measure)
            return {self.class_names[0]: metrics}
        by_class = {}
        of_all = (truth.flag == 0) & (self.rule is not None)
        for class_name, number in zip(self.class_names, self.class_numbers, strict=True):
            if class_name not in self.scored_classes:
                continue
            found = results
            if self.result_numbers is not None:
                found = results.select(results.cls == number)
            objects = truth.select((truth.cls == number) | of_all)
            by_class[class_name] = class_box_metrics(
                objects, found, length, where, self.benchmark, measure
            )
        return by_class

    def read_results(
        self, folder: str | os.PathLike[str], frame_numbers: FrameNumbers | None = None
    ) -> dict[str, TrackResults]:
        """Read and check ``<sequence>.txt`` for each sequence; a file may be empty, but not missing.

        Args:
            folder: of the files; or the file of the only sequence, whatever its name.
            frame_numbers: how the files number the frames; None: as the labels, unless that is in doubt.

        Raises:
            UserError: names file, line and fault; or there is such a doubt: the labels do not begin with
                frame 1, and nothing was found in the first frame of any sequence.
        """
        results: dict[str, TrackResults] = {}
        rows = Tally(os.fspath(folder), "masks")
        is_file = os.path.isfile(folder)
        if is_file and len(self.sequences) > 1:
            raise UserError(
                f"{folder} is one file, and {self.source} has {len(self.sequences)} sequences: give the "
                "folder that holds the file of each"
            )
        _tell_other_files(folder, self.sequences, self.source)
        for name, sequence in self.sequences.items():
            path = os.fspath(folder) if is_file else os.path.join(folder, f"{name}.txt")
            frames = sequence.result_numbers
            if frame_numbers in ("0", "1"):
                frames = range(int(frame_numbers), int(frame_numbers) + sequence.num_frames)
            if not os.path.isfile(path):
                raise UserError(
                    f"results {path} are missing: write one file for each sequence of {self.source}, "
                    "an empty one where nothing was found, or correct the folder"
                )
            if self.has_masks:
                numbers = {MOTS_CAR, MOTS_PEDESTRIAN, *(self.class_numbers or ())}
                found = read_mots_results(path, frames, sequence.size, numbers)
                scored = np.isin(found.cls, self.class_numbers or (MOTS_PEDESTRIAN,))
                rows.used += int(scored.sum())
                for number, count in Counter(found.cls[~scored].tolist()).items():
                    rows.leave_out(f"of class {number}", count)
                results[name] = found
            else:
                results[name] = read_mot_results(path, frames, self.class_numbers or ())
        if self.has_masks and not rows.used and rows.left_out().reasons:
            raise UserError(f"{rows.left_out()}; score the classes of the results, or correct them")
        rows.tell(refuse)
        if frame_numbers is None:
            self._check_numbers(folder, results)
        return results

    def _check_numbers(
        self, folder: str | os.PathLike[str], results: Mapping[str, TrackResults]
    ) -> None:
        first = {name: each.result_numbers[0] for name, each in self.sequences.items()}
        found = {name: each for name, each in results.items() if first[name] != 1 and len(each)}
        if found and not any(1 in each.frame for each in found.values()):
            name = next(iter(found))
            raise UserError(
                f"{folder}: nothing is in the first frame of {name}, which has the number {first[name]}, so "
                "the results may number frames differently: give --frame-numbers 0 or 1, or, if they use "
                "the labels' numbers, --frame-numbers labels"
            )


def _tell_other_files(
    folder: str | os.PathLike[str], sequences: Collection[str], source: str
) -> None:
    """Log the files of results that are of none of these sequences."""
    files = (
        sorted(f for f in os.listdir(folder) if f.endswith(".txt")) if os.path.isdir(folder) else []
    )
    others = [file for file in files if file.removesuffix(".txt") not in sequences]
    tally = Tally(os.fspath(folder), "files of results")
    tally.used = len(files) - len(others)
    if others:
        more = ", ..." if len(others) > 3 else ""
        tally.leave_out(f"of no sequence of {source} ({', '.join(others[:3])}{more})", len(others))
    tally.tell(refuse)


def _by_name(source: str, sequences: Sequence[MOTSequence]) -> dict[str, MOTSequence]:
    by_name = {sequence.name: sequence for sequence in sequences}
    if len(by_name) < len(sequences):
        raise UserError(f"{source}: sequences have the same name; rename their folders")
    return dict(sorted(by_name.items()))


def _of_benchmark(rule: ObjectRule, rows: MOTRows | MOTSRows) -> MOTRows | MOTSRows:
    """The rows whose class the benchmark knows: the others do not count, nor do results on them."""
    if rule.has_masks:
        return rows
    return rows.select((rows.cls >= 1) & (rows.cls <= NUM_MOT_CLASSES))


def _of_classes(labels: Labels, numbers: Sequence[int]) -> MOTRows | MOTSRows:
    """The rows of chosen classes, under these numbers. A box that does not count is a region to ignore."""
    rows = labels.rows
    own = np.array([np.nan if each is None else each for each in labels.class_numbers])
    is_object = labels.category >= 0
    if isinstance(rows, MOTSRows):
        is_region = rows.cls == MOTS_IGNORE_CLASS
        cls = np.where(is_region, MOTS_IGNORE_CLASS, np.asarray(numbers)[labels.category])
        return replace(rows, cls=cls).select(is_object | is_region)
    chosen = np.isin(rows.cls, own)
    rows, is_object = rows.select(chosen), is_object[chosen]
    which = (rows.cls[:, None] == own).argmax(axis=1)
    return replace(rows, cls=np.asarray(numbers)[which], flag=is_object.astype(np.int64))


def _require_objects(truth: MOTGroundTruth) -> None:
    """Raise a UserError if records have annotations, none of which counts."""
    assert truth.class_numbers is not None
    numbered = zip(truth.class_names, truth.class_numbers, strict=True)
    scored = [number for name, number in numbered if name in truth.scored_classes]
    tally = Tally(truth.source, "labelled objects")
    for rows in truth.rows.values():
        is_object = rows.flag == 1 if isinstance(rows, MOTRows) else rows.cls != MOTS_IGNORE_CLASS
        counts = is_object & np.isin(rows.cls, scored)
        tally.used += int(counts.sum())
        tally.leave_out("to ignore", int((~is_object).sum()))
        tally.leave_out(
            f"of classes that {truth.benchmark} does not score", int((is_object & ~counts).sum())
        )
    if truth.rows and not tally.used:
        found = tally.left_out()
        raise UserError(
            f"{found if found.reasons else f'{truth.source} has no labelled objects'}; nothing could be "
            "scored: correct the labels, or leave out 'annotations' to only write the tracks"
        )

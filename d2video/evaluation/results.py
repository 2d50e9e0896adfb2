"""Scores of result files of any program, by the evaluators that score a model while it runs."""

import os
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from detectron2.data import MetadataCatalog

from d2video.evaluation.coco import COCOInstanceEvaluator
from d2video.evaluation.labels import LABEL_EVALUATORS, Labels
from d2video.evaluation.metadata import required_metadata
from d2video.evaluation.mot.evaluator import MOTEvaluator
from d2video.evaluation.mot.ground_truth import FrameNumbers, MOTGroundTruth
from d2video.evaluation.result_files import RESULTS_NAME, read_results
from d2video.evaluation.vis.evaluator import YTVISEvaluator
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from d2video.fetching import unpack
from d2video.formats.text import read_lines
from d2video.utils.errors import UserError

# Of LABEL_EVALUATORS, how their results are written.
_FORMS = {
    "ytvis": "in YouTube-VIS format",
    "coco": "in COCO's format",
    "mot": "in MOTChallenge's text files",
    "mots": "in MOTS' text files",
}


# Evaluators that take results from files as well.
ResultsEvaluator: TypeAlias = YTVISEvaluator | COCOInstanceEvaluator | MOTEvaluator


def read_result_files(
    path: str,
    dataset_name: str,
    output_dir: str | None = None,
    frame_numbers: FrameNumbers | None = None,
) -> tuple[ResultsEvaluator, str]:
    """Read and check the results of a program on a registered dataset; its images need not be there.

    Args:
        path: results in YouTube-VIS format (JSON, or the server's zip), in COCO's (JSON, boxes or masks), or
            a folder of MOTChallenge's or MOTS' text files, or a zip of them; or the file of the only
            sequence.
        output_dir: folder for what the evaluator writes; None: nothing is written.
        frame_numbers: of text files, see
            :meth:`~d2video.evaluation.mot.ground_truth.MOTGroundTruth.read_results`.

    Returns:
        the evaluator, which is ready to score them; how much there is, in words.

    Raises:
        UserError: the first fault of the results, with its place; results that are not of this dataset's
            kind; or the dataset cannot be read.
    """
    path = _unpacked(path)
    if output_dir is not None and _is_in(path, output_dir):
        raise UserError(f"{path} is where the evaluation writes its files: choose another --output")
    own = MetadataCatalog.get(dataset_name).get("evaluator_type")
    if path.lower().endswith(".txt") or os.path.isdir(path):
        results, kind = None, _kind_of_texts(path, own)
    else:
        results = read_results(path)
        kind = _kind_of_json(results, own)
    evaluator = _evaluator(dataset_name, kind, output_dir)
    if isinstance(evaluator, MOTEvaluator):
        return evaluator, evaluator.read_results(path, frame_numbers)
    if frame_numbers is not None:
        raise UserError(f"{path} holds no numbers of frames: leave out --frame-numbers")
    return evaluator, evaluator.take_results(results, path)


def _unpacked(path: str) -> str:
    """The folder of text files that a zip of them, or TrackEval's folder of a tracker, holds."""
    if path.lower().endswith(".zip") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if RESULTS_NAME in names or not any(name.endswith(".txt") for name in names):
            return path
        files = sorted(unpack(path).rglob("*.txt"))
    else:
        files = [*Path(path).glob("*.txt"), *Path(path).glob("data/*.txt")]
    folders = Counter(file.parent for file in files)
    return str(max(folders, key=folders.__getitem__, default=path))


def _is_in(path: str, folder: str) -> bool:
    return os.path.realpath(folder) in map(os.path.realpath, (path, os.path.dirname(path) or "."))


def _kind_of_texts(path: str, own: str | None) -> str:
    """Which of LABEL_EVALUATORS scores a file or a folder of files: by what is in them, or else by the data
    set's ``own`` evaluator."""
    files = map(str, sorted(Path(path).glob("*.txt"))) if os.path.isdir(path) else [path]
    firsts = {file: next(filter(str.strip, read_lines(file)), "") for file in files}
    kinds = Counter(filter(None, map(_text_kind, firsts.values())))
    other = next((file for file, first in firsts.items() if first), None)
    if not kinds and other is not None:
        raise UserError(
            f"{other} is neither in MOTChallenge's format (columns split by commas) nor in MOTS' (6 "
            "columns split by spaces): write results in one of these"
        )
    return max(kinds, key=kinds.__getitem__, default="mots" if own == "mots" else "mot")


def _kind_of_json(results: Any, own: str | None) -> str:
    """As :func:`_kind_of_texts`, of the content of a JSON file."""
    first = results[0] if isinstance(results, list) and results else {}
    if isinstance(first, dict) and {"image_id", "video_id"} & first.keys():
        return "ytvis" if "video_id" in first else "coco"
    if own in ("ytvis", "coco"):
        return own
    return "coco" if own == "coco_panoptic_seg" else "ytvis"


def _text_kind(line: str) -> str | None:
    """Of which kind a file with this first line is; None: neither (other files may be there)."""
    return "mot" if "," in line else "mots" if len(line.split()) == 6 else None


def _evaluator(dataset_name: str, kind: str, output_dir: str | None) -> ResultsEvaluator:
    metadata = MetadataCatalog.get(dataset_name)
    own = metadata.get("evaluator_type")
    if (own, kind) in _OF_FILES:
        return _OF_FILES[own, kind](dataset_name, output_dir)
    kinds = [each for of, each in _OF_FILES if of == own]
    if own in ("labels", "ytvis", "mot", "mots") and metadata.get("mot_sequences") is None:
        labels = Labels.of_dataset(dataset_name)
        if "length" not in labels.records[0]:
            kinds = ["coco"]
        else:
            kinds = ["ytvis", "coco"] if own == "ytvis" else [*_FORMS]
        if kind in kinds:
            return LABEL_EVALUATORS[kind](labels, output_dir, None)
    forms = " or ".join(_FORMS[each] for each in kinds) or "of models only"
    raise UserError(
        f"dataset {dataset_name} takes results {forms}, but these are {_FORMS[kind]}: give other "
        "results or another dataset"
    )


def _ytvis(dataset_name: str, output_dir: str | None) -> ResultsEvaluator:
    # Not YTVISEvaluator.from_dataset, for which the records have been loaded.
    path = required_metadata(dataset_name, "json_file", "register_ytvis_instances")
    truth = YTVISGroundTruth.from_json(path)
    index_of = {category_id: k for k, category_id in enumerate(truth.categories)}
    return YTVISEvaluator(truth, index_of, output_dir)


def _mot(dataset_name: str, output_dir: str | None) -> ResultsEvaluator:
    truth = MOTGroundTruth.from_dataset(dataset_name, needs_images=False)
    return MOTEvaluator(truth, output_dir)


# (evaluator_type of a dataset, kind of results) → the evaluator by its own files.
_OF_FILES: dict[tuple[str, str], Callable[[str, str | None], ResultsEvaluator]] = {
    ("ytvis", "ytvis"): _ytvis,
    ("coco", "coco"): COCOInstanceEvaluator.from_dataset,
    ("coco_panoptic_seg", "coco"): COCOInstanceEvaluator.from_dataset,
    ("mot", "mot"): _mot,
    ("mots", "mots"): _mot,
}

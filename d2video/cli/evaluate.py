"""Evaluate a trained model on labelled datasets, or score the results of any program on a dataset.

The model is a checkpoint, the output folder of a training, a URL, or a name in the model zoo. It brings its
own config. Without --data it is evaluated on the test sets that it was trained with (DATASETS.TEST). The
metrics are shown as tables and as lines to copy. Files for benchmark servers are written to --output.

Results are one of these; anything else is taken for a model:

- a JSON file in YouTube-VIS format (or the server's zip) or in COCO format (boxes or masks)
- a folder of text files <sequence>.txt in MOTChallenge or MOTS format, or the file of the only sequence

Results are checked first; the first fault is reported with its location and exit status 1. Then the same
evaluators score them. Only --json and, if given, --output are written. The images of YouTube-VIS, COCO and
MOTChallenge are not needed. Without labels, as in test splits, results are only checked. --data is a
registered dataset or the path of labels; --opts may contain options of their format.

Examples:
    d2video evaluate output/model_best.pth
    d2video evaluate DETR/detr_R50_500ep --data coco_2017_val --num-gpus 8
    d2video evaluate model.pth --data mine --json results.json \\
        --opts DATASETS.REGISTER '[["mine", "coco", {"json_file": "val.json", "image_root": "val"}]]'
    d2video evaluate results.json --data datasets/ytvis_2019/valid.json
    d2video evaluate tracks --data MOT17/train --opts benchmark MOT17 sequences '["MOT17-0[24]*"]'
    d2video evaluate tracks --data job_12.zip --opts classes '["car", "bus"]'
"""

import argparse
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from d2video.cli.arguments import (
    CommandParser,
    add_json,
    add_model,
    add_names,
    command_parser,
    move_keys,
)
from d2video.cli.train import add_processes
from d2video.utils.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from d2video.evaluation.mot.ground_truth import FrameNumbers
    from d2video.evaluation.results import ResultsEvaluator

_OUTPUT = "output/evaluation"
_OF_MODELS = (".pth", ".pkl", ".safetensors", ".yaml", "last_checkpoint")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """See :func:`read_args`."""
    return read_args(evaluation_parser(__doc__, "evaluate"), argv)


def evaluation_parser(description: str | None, command: str) -> CommandParser:
    """Return the parser of a command that compares predictions with labelled data."""
    parser = command_parser(description, command)
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="NAME",
        help="datasets to evaluate on: registered names or paths of labels; exactly one for results",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help=f"folder for the log and the evaluators' files (default: {_OUTPUT}; for results: none)",
    )
    add_frame_numbers(parser)
    add_json(parser)
    add_processes(parser)
    add_model(parser)
    add_names(parser, "model", "MODEL or RESULTS", "model, same as --model, or results to score")
    parser.set_defaults(eval_only=True, resume=False)
    return parser


def read_args(parser: CommandParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments of :func:`evaluation_parser`, in the form of :func:`d2video.cli.train.run`.

    ``results`` is the path of the results, or "" if a model is given.

    Raises:
        UserError: if neither a model, a config nor results are given, or results without their dataset.
    """
    args = parser.parse_args(argv)
    move_keys(args, "data")
    if not (args.model or args.config_file or args.opts):
        raise UserError("no model is given: name it before --data NAME ..., or after --model")
    args.results = args.model if _are_results(args.model) else ""
    if args.results:
        if len(args.data) != 1:
            raise UserError(f"{args.results} are results: name their one dataset after --data")
        if args.config_file:
            raise UserError(
                f"{args.results} are results, which have no config: leave out --config-file"
            )
        return args
    if args.frame_numbers is not None:
        raise UserError("--frame-numbers is for results in text files: leave it out")
    # Config keys from the command line come last and win.
    args.output = args.output or _OUTPUT
    data = ["DATASETS.TEST", repr(tuple(args.data))] if args.data else []
    args.opts = ["OUTPUT_DIR", args.output, *data, *args.opts]
    return args


def add_frame_numbers(parser: argparse.ArgumentParser) -> None:
    """Add ``--frame-numbers``, for results in text files."""
    parser.add_argument(
        "--frame-numbers",
        choices=("labels", "0", "1"),
        help="how results in text files number the frames of a video: as the labels do, from 0, or from 1 "
        "(default: as the labels do, unless that is in doubt)",
    )


def _are_results(path: str) -> bool:
    """Whether a path holds results: JSON (also in a zip), or text files without files of a model."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".zip" and os.path.isfile(path):
        if not zipfile.is_zipfile(path):
            return True  # damaged
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith((".json", ".txt")) for name in archive.namelist())
    if not os.path.isdir(path):
        return suffix in (".json", ".txt")
    texts = [*Path(path).glob("*.txt"), *Path(path).glob("data/*.txt")]
    return bool(texts) and not any(name.endswith(_OF_MODELS) for name in os.listdir(path))


def sound_results(
    path: str,
    data: str,
    words: Sequence[str],
    output: str | None = None,
    frame_numbers: "FrameNumbers | None" = None,
) -> "ResultsEvaluator":
    """Check results, print how many there are, and return their evaluator.

    Args:
        path: path of the results.
        data: name of the dataset, or path of its labels.
        words: as for :func:`~d2video.cli.labels.data_set`.
        output: folder for the evaluator's files; None: do not write any.
        frame_numbers: see :func:`~d2video.evaluation.results.read_result_files`.

    Raises:
        UserError: for the first fault of the results, or if the dataset cannot be read.
    """
    from d2video.cli.labels import data_set
    from d2video.evaluation import evaluation_folder
    from d2video.evaluation.results import read_result_files

    name = data_set(data, words, needs_images=False)
    folder = None if output is None else evaluation_folder(output, name)
    evaluator, found = read_result_files(path, name, folder, frame_numbers)
    print(f"{path} is sound: {found}")
    return evaluator


def given_results(args: argparse.Namespace) -> "ResultsEvaluator":
    """Call :func:`sound_results` with a command's arguments."""
    (source,) = args.data
    return sound_results(args.results, source, args.opts, args.output, args.frame_numbers)


def score(args: argparse.Namespace) -> None:
    """Check and score results."""
    from detectron2.evaluation import print_csv_format

    from d2video.engine.logs import set_up_logs
    from d2video.utils.files import write_json

    set_up_logs()
    (source,) = args.data
    results = given_results(args).evaluate()
    if results:
        print_csv_format(results)
    if args.json:
        write_json(args.json, {"results_file": args.results, "results": {source: results}})


@exit_on_user_error  # by decoration: spawned processes find the function by its name
def run(args: argparse.Namespace) -> None:
    """Evaluate in this process, which may be one of several."""
    from detectron2.utils import comm

    from d2video.engine import setup
    from d2video.engine.evaluation import evaluate
    from d2video.fetching import shown
    from d2video.utils.files import write_json

    cfg = setup(args)
    results = evaluate(cfg)
    if args.json and comm.is_main_process():
        names = cfg.DATASETS.TEST
        by_set = {names[0]: results} if len(names) == 1 else results
        write_json(args.json, {"model": shown(cfg.MODEL.WEIGHTS), "results": by_set})


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.results:
        score(args)
        return
    from d2video.cli.train import launch

    launch(run, args)

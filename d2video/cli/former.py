"""Commands under former names (:data:`d2video.cli.FORMER_NAMES`), which call ``evaluate`` and ``split``."""

import argparse
import os
from collections.abc import Sequence

from d2video.cli.arguments import command_parser
from d2video.cli.evaluate import add_frame_numbers, sound_results
from d2video.cli.split import main as split_ytvis  # noqa: F401
from d2video.utils.errors import UserError, exit_on_user_error


@exit_on_user_error
def evaluate_mot(argv: Sequence[str] | None = None) -> None:
    """Check and score result files of any tracker. Replaced by: d2video evaluate RESULTS --data DATA."""
    parser = command_parser(evaluate_mot.__doc__, "evaluate-mot")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dataset", metavar="NAME", help="name of a registered tracking dataset")
    source.add_argument("--ground-truth", metavar="FOLDER", help="folder of the sequences' folders")
    parser.add_argument("--results", metavar="FOLDER", required=True)
    parser.add_argument("--output", metavar="FILE", help="JSON file to write all metrics to")
    add_frame_numbers(parser)
    options = parser.add_argument_group(
        "options of register_mot, with --ground-truth", argument_default=argparse.SUPPRESS
    )
    options.add_argument("--benchmark")
    options.add_argument("--sequences", nargs="+")
    options.add_argument("--frame-range", nargs=2, type=float)
    options.add_argument("--classes", nargs="+", type=_class)
    options.add_argument("--min-visibility", type=float)
    options.add_argument("--with-flag-0", action="store_true")
    given = vars(parser.parse_args(argv))
    name, folder, results, output, frame_numbers = (
        given.pop(key) for key in ("dataset", "ground_truth", "results", "output", "frame_numbers")
    )
    if folder and "benchmark" not in given:
        raise UserError("--ground-truth needs --benchmark, which sets the scoring rules")
    words: list[str] = []
    if folder:
        name = os.path.join(folder, "")  # a name that no other dataset has
        words = ["DATASETS.REGISTER", repr([[name, "mot", {"root": folder, **given}]])]
    from d2video.evaluation.mot.evaluator import MOTEvaluator

    evaluator = sound_results(results, name, words, frame_numbers=frame_numbers)
    if not isinstance(evaluator, MOTEvaluator):
        raise UserError(f"{results}: give a folder of <sequence>.txt")
    evaluator.evaluate()
    if evaluator.report is None:
        print(f"{name} has no labels: nothing is scored")
        return
    print(evaluator.report.table())
    if output:
        evaluator.report.write(output)


def _class(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdecimal() else text


@exit_on_user_error
def validate_results(argv: Sequence[str] | None = None) -> None:
    """Check results in YouTube-VIS format. Replaced by: d2video evaluate RESULTS --data ANNOTATIONS."""
    parser = command_parser(validate_results.__doc__, "validate-results")
    parser.add_argument("results", help="results.json, or the zip file for the server")
    parser.add_argument("annotations", help="annotation file of the split")
    args = parser.parse_args(argv)
    sound_results(args.results, args.annotations, ["format", "ytvis"])

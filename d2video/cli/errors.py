"""Analyse the errors of a model, or of the results of any program.

The arguments are those of d2video evaluate: a model and the datasets to evaluate it on, or results and the
dataset that they belong to. The metrics are shown first, then tables for each dataset:

- instances in videos (YouTube-VIS) and images (COCO): for each object the prediction that overlaps it most,
  missed objects by cause, confused classes, and the AP50 if one kind of error were corrected (TIDE)
- panoptic segmentation: PQ, SQ and RQ by class, and missed segments by cause
- tracking: the HOTA if one kind of error were corrected, and missed boxes and identity switches by cause
- classification: confused classes, and the scores of wrong predictions
- restoration: the distribution over the images, and the worst images

--json writes the tables and a row for each object (video or image, id, best IoU, score, cause).
docs/guides/evaluate.md explains how to read them.

Examples:
    d2video errors output/model_final.pth
    d2video errors output/model_final.pth --data my_val --score 0.3 --json errors.json
    d2video errors results.json --data datasets/ytvis_2019/valid.json
    d2video errors tracks --data MOT17/train --opts benchmark MOT17
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from d2video.cli.arguments import score
from d2video.cli.evaluate import evaluation_parser, given_results, read_args
from d2video.utils.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from d2video.evaluation.errors import Breakdown


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments; see :func:`d2video.cli.evaluate.read_args`."""
    parser = evaluation_parser(__doc__, "errors")
    parser.add_argument(
        "--score",
        type=score,
        default=0.5,
        metavar="SCORE",
        help="minimum score for a prediction to count (default: %(default)g)",
    )
    return read_args(parser, argv)


def show(args: argparse.Namespace, model: str, by_set: Mapping[str, Sequence["Breakdown"]]) -> None:
    """Print the tables and write them to ``args.json``.

    Raises:
        UserError: if a dataset has no breakdown; those of the others are shown and written.
    """
    from d2video.utils.files import write_json

    for breakdowns in by_set.values():
        for each in breakdowns:
            print(f"\n{each.text()}")
    if args.json:
        errors = {name: {b.name: b.as_json() for b in each} for name, each in by_set.items()}
        write_json(args.json, {"model": model, "score": args.score, "errors": errors})
    if missing := [name for name, breakdowns in by_set.items() if not breakdowns]:
        raise UserError(
            f"dataset {missing[0]}: no errors can be found without labelled objects: name a set with "
            "labels after --data"
        )


@exit_on_user_error  # by decoration: spawned processes find the function by its name
def run(args: argparse.Namespace) -> None:
    """Evaluate in this process, which may be one of several."""
    from detectron2.utils import comm

    from d2video.engine import setup
    from d2video.engine.evaluation import evaluate_errors
    from d2video.fetching import shown

    cfg = setup(args)
    found = evaluate_errors(cfg, args.score)
    if comm.is_main_process():
        show(args, shown(cfg.MODEL.WEIGHTS), found)


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.results:
        from d2video.engine.logs import set_up_logs
        from d2video.evaluation.errors import ErrorFinder

        set_up_logs()
        finder = ErrorFinder(given_results(args), args.score)
        finder.evaluate()
        show(args, args.results, {args.data[0]: finder.breakdowns})
        return
    from d2video.cli.train import launch

    launch(run, args)

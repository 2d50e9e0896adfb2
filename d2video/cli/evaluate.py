"""Evaluate a trained model on labelled data sets; the config is the model's own.

The model is a checkpoint, the folder of a training, an address, or a name of the model zoo. Without
--data it is evaluated on the test sets that it was trained with (DATASETS.TEST). The results are shown
as tables and as lines to copy, and files for the servers of benchmarks are written to --output.

Examples:
    d2video evaluate output/model_best.pth
    d2video evaluate DETR/detr_R50_500ep --data coco_2017_val --num-gpus 8
    d2video evaluate model.pth --data mine --json results.json \\
        --opts DATASETS.REGISTER '[["mine", "coco", {"json_file": "val.json", "image_root": "val"}]]'
"""

import argparse
from collections.abc import Sequence

from d2video.cli.arguments import add_json, add_model, add_names, command_parser
from d2video.cli.train import add_processes
from d2video.utils.errors import UserError, exit_on_user_error


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, as :func:`d2video.cli.train.run` takes them.

    Raises:
        UserError: neither a model nor a config is given.
    """
    parser = command_parser(__doc__, "evaluate")
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="NAME",
        help="registered data sets to evaluate on; config keys behind them need --opts before them",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        default="output/evaluation",
        help="for the log and the files that evaluators write (default: %(default)s)",
    )
    add_json(parser)
    add_processes(parser)
    add_model(parser)
    add_names(parser, "model", "MODEL", "the model, as with --model")
    parser.set_defaults(eval_only=True, resume=False)
    args = parser.parse_args(argv)
    if not (args.model or args.config_file or args.opts):
        raise UserError("no model is given: name it before --data NAME ..., or behind --model")
    # What else is among the keys wins.
    data = ["DATASETS.TEST", repr(tuple(args.data))] if args.data else []
    args.opts = ["OUTPUT_DIR", args.output, *data, *args.opts]
    return args


@exit_on_user_error  # by decoration: spawned processes find the function by its name
def run(args: argparse.Namespace) -> None:
    """Evaluate in this process, one of several or the only one."""
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
    from d2video.cli.train import launch

    launch(run, args)

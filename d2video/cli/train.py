"""Train or evaluate any system of d2video, with detectron2's command line (also in tools/train_net.py).

Give the config, a file or a name, as the first argument or after --config-file. One machine with 8 GPUs (or,
with MODEL.DEVICE cpu, 8 processes on the CPU)::

    d2video train VisTR/vistr_R50_ytvis2019.yaml --num-gpus 8 SOLVER.BASE_LR 0.0001
    d2video train --num-gpus 8 --dist-url auto --config-file cfg.yaml SOLVER.BASE_LR 0.0001

Two machines::

    (machine 0) d2video train --num-gpus 8 --num-machines 2 --machine-rank 0 \\
        --dist-url tcp://HOST0:PORT ...
    (machine 1) d2video train --num-gpus 8 --num-machines 2 --machine-rank 1 \\
        --dist-url tcp://HOST0:PORT ...

With torchrun, which sets the number of processes. --resume lets a restart continue; restarts on several
machines need --rdzv-backend c10d::

    torchrun --nproc-per-node 8 --max-restarts 3 -m d2video train --resume --config-file cfg.yaml

docs/reliability.md describes what happens when a process fails or is stopped.
"""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from d2video.cli.arguments import NO_CONFIG, command_parser, is_config_key
from d2video.utils.errors import UserError, exit_on_user_error


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments; a config before all options, or before the keys, becomes ``config_file``.

    Raises:
        UserError: if two configs are given, or neither a config nor a key.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    first = [words.pop(0)] if words and _is_config(words[0]) else []
    args = argument_parser().parse_args(words)
    configs = [*first, *filter(None, [args.config_file])]
    # After a given config, a word that does not look like a file may be a misspelt key.
    if args.opts and _is_config(args.opts[0]) and (not configs or _is_file(args.opts[0])):
        configs.append(args.opts.pop(0))
    if len(configs) > 1:
        raise UserError(f"two configs are given, {configs[0]} and {configs[1]}: leave one out")
    if not (configs or args.opts):
        raise UserError(NO_CONFIG)
    args.config_file = configs[0] if configs else ""
    return args


def _is_file(word: str) -> bool:
    return "/" in word or word.endswith((".yaml", ".yml"))


def _is_config(word: str) -> bool:
    return not word.startswith("-") and not is_config_key(word)


def argument_parser() -> argparse.ArgumentParser:
    """Return a parser with the options of detectron2's ``default_argument_parser`` and ``--dist-timeout``.

    They are repeated here because importing ``detectron2.engine`` takes seconds.
    """
    parser = command_parser(__doc__, "train")
    parser.usage = "d2video train [CONFIG] [options] [KEY VALUE ...]"
    parser.add_argument(
        "--config-file", default="", metavar="FILE", help="file or name of the config"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue from the last checkpoint in OUTPUT_DIR, if there is one, as detectron2's "
        "`DefaultTrainer.resume_or_load()` does",
    )
    parser.add_argument("--eval-only", action="store_true", help="only evaluate, do not train")
    add_processes(parser)
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        help="""
config keys to change, at the end of the command: KEY VALUE pairs or KEY=VALUE
        """.strip(),
    )
    return parser


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Add the options of :func:`d2video.engine.launch.launch_run`."""
    parser.add_argument(
        "--num-gpus", type=int, default=1, help="number of GPUs per machine (default: 1)"
    )
    parser.add_argument(
        "--num-machines", type=int, default=1, help="number of machines (default: 1)"
    )
    parser.add_argument(
        "--machine-rank",
        type=int,
        default=0,
        help="number of this machine, counted from 0",
    )
    user = os.getuid() if sys.platform != "win32" else 1
    port = 2**15 + 2**14 + user % 2**14  # always the same, so that orphaned processes are noticed
    parser.add_argument(
        "--dist-url",
        default=f"tcp://127.0.0.1:{port}",
        help="URL to initialise torch.distributed, or auto for a free port on this machine; see "
        "https://pytorch.org/docs/stable/distributed.html",
    )
    parser.add_argument(
        "--dist-timeout",
        type=float,
        default=30.0,
        metavar="MINUTES",
        help="how long processes wait for one that neither answers nor closes its connection; set it above "
        "the time that process 0 takes to summarise an evaluation (default: %(default)g)",
    )


@exit_on_user_error  # by decoration: spawned processes find the function by its name
def run(args: argparse.Namespace) -> dict | None:
    """Train in this process and write the report page, or only evaluate with ``--eval-only``.

    Returns:
        The metrics of the last evaluation, or None if there was none.
    """
    from d2video.engine import VideoTrainer, setup
    from d2video.engine.evaluation import evaluate

    cfg = setup(args)
    if args.eval_only:
        return evaluate(cfg, resume=args.resume)
    trainer = VideoTrainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    results = trainer.train()
    cfg = trainer.cfg  # with the schedule in iterations
    # The page builds a model of its own, so free the trainer's model first. It is in reference cycles with
    # the trainer's hooks.
    del trainer
    gc.collect()
    _write_page(cfg)
    return results


def _write_page(cfg: Any) -> None:
    """Write the report page of a training in the main process, after the weights have been saved."""
    import logging

    from detectron2.utils import comm

    from d2video.report.run import write_run_page

    if not comm.is_main_process():
        return
    logger = logging.getLogger(__name__)
    try:
        page = write_run_page(cfg)
    except UserError as error:
        logger.warning("The report page of this training cannot be written: %s", error)
    else:
        logger.info("Curves, results and pictures: %s", page.as_uri())


def launch(run: Callable[[argparse.Namespace], Any], args: argparse.Namespace) -> None:
    """Call ``run(args)`` in the processes of :func:`add_processes`.

    The config is read once before, so that an error in it is reported once.
    """
    from d2video.config import asked_device
    from d2video.engine.launch import launch_run
    from d2video.engine.logs import set_up_logs
    from d2video.engine.setup import run_config

    set_up_logs(rank=int(os.environ.get("RANK", 0)))
    run_config(args)
    launch_run(run, args, asked_device(args.config_file, args.opts))


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    launch(run, parse_args(argv))

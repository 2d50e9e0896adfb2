"""Train the rows of an ablation, each with several seeds, and write a table of the results.

The sweep file contains a config, keys for all rows, and keys for each row::

    config: VisTR/vistr_tiny_shapes.yaml    # a row may have its own
    metrics: [segm/AP50, segm/AP]           # the table's columns
    seeds: [1, 2, 3]                        # the default
    keys: {SOLVER.MAX_ITER: 433}
    rows:
      - {name: 2 frames, keys: {INPUT.CLIP.NUM_FRAMES: 2}}
      - {name: 3 frames, keys: {INPUT.CLIP.NUM_FRAMES: 3}}

Trainings run one after another, each in its own process. If one fails, it is reported and the others go on.
To continue a stopped sweep, repeat the command; finished trainings are not repeated. Several processes, or
the tasks of an array job, can work on one sweep::

    d2video sweep ablation.yaml
    d2video sweep ablation.yaml --list
    sbatch --array=1-6 --wrap 'd2video sweep ablation.yaml'

The table is <output>/table.md, with the mean and (lowest to highest) over the seeds. table.json and table.csv
contain every value.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from d2video.cli.arguments import command_parser, positive
from d2video.utils.errors import UserError, exit_on_user_error

_ARRAY_TASK = "SLURM_ARRAY_TASK_ID"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "sweep")
    parser.add_argument("sweep", help="YAML file, see above")
    parser.add_argument(
        "--output", type=Path, help="output folder (default: output/<sweep file without .yaml>)"
    )
    parser.add_argument(
        "--num-gpus", type=positive, default=1, help="GPUs per training, as for d2video train"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--row", metavar="NAME", help="run only this row")
    what.add_argument(
        "--task",
        type=positive,
        metavar="N",
        help=f"run only the N-th training, counted from 1 (default: ${_ARRAY_TASK}, if it is set)",
    )
    what.add_argument("--list", action="store_true", help="list the trainings with their numbers")
    what.add_argument("--table", action="store_true", help="only write the table, do not train")
    args = parser.parse_args(argv)
    args.output = args.output or Path("output", Path(args.sweep).stem)
    if not (args.row or args.task or args.list or args.table) and _ARRAY_TASK in os.environ:
        number = os.environ[_ARRAY_TASK]
        if not number.isdecimal() or number == "0":
            parser.error(f"{_ARRAY_TASK} is {number}: trainings are numbered from 1 on")
        args.task = int(number)
    return args


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        UserError: if the sweep has a fault or there is nothing for a table.
        SystemExit: if a training failed.
    """
    args = parse_args(argv)
    from d2video.engine.sweep import read_sweep, run_task
    from d2video.engine.sweep_table import write_table
    from d2video.projects import register_all

    register_all()
    sweep = read_sweep(args.sweep, args.output)
    if args.list:
        for number, task in enumerate(sweep.tasks, 1):
            print(f"{number:4} {task}{'' if task.results() is None else ' (finished)'}")
        return
    tasks = () if args.table else sweep.of_row(args.row) if args.row else sweep.tasks
    if args.task:
        if args.task > len(tasks):
            raise UserError(f"--task {args.task}: the sweep has tasks 1 to {len(tasks)} (--list)")
        tasks = (tasks[args.task - 1],)
    for task in sweep.tasks:
        task.check_unchanged()
    failures, table = [], write_table(sweep) if args.table else None
    for number, task in enumerate(tasks, 1):
        print(f"[{number}/{len(tasks)}] {task}: {task.folder}", flush=True)
        outcome = run_task(task, args.num_gpus)
        print(f"    {outcome}", flush=True)
        if outcome.startswith("failed"):
            failures.append(f"{task} {outcome}")
        table = write_table(sweep)
    if table:
        print(f"\n{table}\nwritten: {sweep.folder}/table.md, table.json, table.csv")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    if failures:
        sys.exit(1)
    if args.table and not table:
        raise UserError(f"{sweep.folder} contains no finished training of the sweep: run it first")

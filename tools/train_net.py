#!/usr/bin/env python3
"""Train or evaluate any system of d2video; the usual detectron2 command line.

Example: tools/train_net.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml --num-gpus 8
"""

import argparse
import os
import sys

from detectron2.engine import default_argument_parser, launch
from detectron2.evaluation import verify_results
from detectron2.utils import comm
from torch.multiprocessing import ProcessExitedException

from d2video.checkpoint import VideoCheckpointer
from d2video.engine import VideoTrainer, check_num_processes, load_cfg, setup
from d2video.projects import register_all
from d2video.utils.errors import exit_on_user_error


@exit_on_user_error  # by decoration: spawned processes find the function by its name
def run(args: argparse.Namespace) -> dict | None:
    """Train, or evaluate with ``--eval-only``, in this process.

    Returns:
        the metrics of the last evaluation, if there was one.
    """
    register_all()
    cfg = setup(args)
    if not args.eval_only:
        trainer = VideoTrainer(cfg)
        trainer.resume_or_load(resume=args.resume)
        return trainer.train()
    model = VideoTrainer.build_model(cfg)
    checkpointer = VideoCheckpointer(model, cfg.OUTPUT_DIR, strict=True)
    checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
    results = VideoTrainer.test(cfg, model)
    if comm.is_main_process():
        verify_results(cfg, results)
    return results


def launch_run(args: argparse.Namespace, device: str) -> None:
    """:func:`run` in ``args.num_gpus`` processes, each with a GPU or with its share of the cores.

    Args:
        args: of detectron2's ``default_argument_parser``.
        device: MODEL.DEVICE.

    Raises:
        UserError: more processes than GPUs.
        SystemExit: a process failed; it has told its reason.
    """
    check_num_processes(args.num_gpus, device)
    if device == "cpu":
        # detectron2's launch takes NCCL, and one GPU a process, wherever it sees a GPU.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        if args.num_gpus > 1:  # torch would start a thread for every core in each process
            threads = max(1, (os.cpu_count() or 1) // args.num_gpus)
            os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        launch(
            run,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    except ProcessExitedException as error:
        sys.exit(error.exit_code or 1)


@exit_on_user_error
def main() -> None:
    args = default_argument_parser().parse_args()
    register_all()
    launch_run(args, load_cfg(args.config_file, args.opts).MODEL.DEVICE)


if __name__ == "__main__":
    main()

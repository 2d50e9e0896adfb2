"""Train or evaluate any system of d2video; the usual detectron2 command line.

Example: tools/train_net.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml --num-gpus 8
or under torchrun; see --help and docs/reliability.md.
"""

import argparse

from detectron2.evaluation import verify_results
from detectron2.utils import comm

from d2video.checkpoint import VideoCheckpointer
from d2video.config import load_cfg
from d2video.engine import VideoTrainer, setup
from d2video.engine.launch import argument_parser, launch_run
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


@exit_on_user_error
def main() -> None:
    args = argument_parser().parse_args()
    register_all()
    launch_run(run, args, load_cfg(args.config_file, args.opts).MODEL.DEVICE)

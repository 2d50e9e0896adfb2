"""Evaluation of a trained model, outside training."""

from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation import verify_results
from detectron2.utils import comm
from torch import nn

from d2video.checkpoint import VideoCheckpointer
from d2video.data.loading import check_registered
from d2video.engine.trainer import VideoTrainer
from d2video.evaluation.errors import Breakdown, ErrorFinder
from d2video.utils.errors import UserError


def evaluate(cfg: CfgNode, *, resume: bool = False) -> dict[str, Any]:
    """Score MODEL.WEIGHTS on DATASETS.TEST; call it in all processes.

    Args:
        cfg: of the model, see :func:`~d2video.engine.setup.setup`.
        resume: take the last checkpoint in OUTPUT_DIR, if there is one.

    Returns:
        in the main process the results {task: {metric: value}} or, of several datasets, those of each
        by its name; the log has them as tables and as lines to copy.

    Raises:
        UserError: no dataset is named, a dataset cannot be read or does not fit the model, or the
            weights do not fit.
    """
    model = _loaded_model(cfg, resume)
    results = VideoTrainer.test(cfg, model)
    if comm.is_main_process():
        verify_results(cfg, results)
    return results


def evaluate_errors(cfg: CfgNode, min_score: float) -> dict[str, list[Breakdown]]:
    """As :func:`evaluate`, and find the errors.

    Args:
        min_score: see :func:`~d2video.evaluation.errors.find_errors`.

    Returns:
        The breakdowns by dataset in the main process; empty lists in the others.
    """
    model = _loaded_model(cfg, resume=False)
    evaluators = [ErrorFinder(e, min_score) for e in VideoTrainer.build_evaluators(cfg, model)]
    VideoTrainer.test(cfg, model, evaluators)
    found = zip(cfg.DATASETS.TEST, evaluators, strict=True)
    return {name: evaluator.breakdowns for name, evaluator in found}


def _loaded_model(cfg: CfgNode, resume: bool) -> nn.Module:
    """The model with its weights; the test sets are checked first."""
    if not cfg.DATASETS.TEST:
        raise UserError(
            "DATASETS.TEST is empty: name the datasets to evaluate on there, or in 'd2video evaluate' "
            "behind --data"
        )
    for name in cfg.DATASETS.TEST:
        check_registered(name)
    model = VideoTrainer.build_model(cfg)
    checkpointer = VideoCheckpointer(model, cfg.OUTPUT_DIR, strict=True)
    checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    return model

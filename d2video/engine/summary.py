"""What is trained on what, in a few lines for the console."""

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.utils import comm
from torch import nn

from d2video.fetching import shown


def summarize_training(cfg: CfgNode, model: nn.Module, samples: int) -> str:
    """
    Args:
        cfg: with the schedule in iterations.
        model: perhaps in DistributedDataParallel.
        samples: clips or images in an epoch of the training set.

    Returns:
        lines of a title and its text.
    """
    solver = cfg.SOLVER
    parameters = list(model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    epochs = solver.MAX_ITER * solver.IMS_PER_BATCH / samples
    start = shown(cfg.MODEL.WEIGHTS) or "random weights (MODEL.WEIGHTS is empty)"
    rows = {
        "data": f"{_names(cfg.DATASETS.TRAIN)}; {samples:,} samples an epoch",
        "evaluation": _names(cfg.DATASETS.TEST) or "none: DATASETS.TEST is empty",
        "model": f"{cfg.MODEL.META_ARCHITECTURE}, {sum(p.numel() for p in parameters):,} parameters, "
        f"{trained:,} of them trained",
        "start": f"{start}, if not resumed",
        "schedule": f"{solver.MAX_ITER:,} iterations of {solver.IMS_PER_BATCH} samples, "
        f"{epochs:.1f} epochs; {solver.OPTIMIZER}, learning rate {solver.BASE_LR:g}, "
        f"{solver.LR_SCHEDULER_NAME}",
        "precision": solver.AMP.DTYPE if solver.AMP.ENABLED else "float32",
        "processes": f"{comm.get_world_size()} on {cfg.MODEL.DEVICE}, "
        f"{cfg.DATALOADER.NUM_WORKERS} loading workers each",
        "output": f"{cfg.OUTPUT_DIR} (log.txt has the environment, the full config and the model)",
    }
    return "\n".join(f"  {title:<11}{text}" for title, text in rows.items())


def _names(datasets: list[str]) -> str:
    """Names, with the number of classes where it is known."""
    counts = {name: len(MetadataCatalog.get(name).get("thing_classes", ())) for name in datasets}
    return ", ".join(f"{name} ({n} classes)" if n else name for name, n in counts.items())

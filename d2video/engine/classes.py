"""The classes of the data that a model is trained on, in the model's numbers."""

from detectron2.config import CfgNode
from torch import nn

from d2video.data.clip_dataset import ClipDataset
from d2video.fetching import shown
from d2video.structures import ClassHead, class_names_of


def match_training_classes(
    cfg: CfgNode, model: nn.Module, clips: ClipDataset, *, resumed: bool = False
) -> None:
    """Give labels the class indices of a model that has its weights, whose names a checkpoint may have
    set.

    Args:
        clips: what the model is trained on; its class indices change.
        resumed: the weights are of a checkpoint in OUTPUT_DIR, not of MODEL.WEIGHTS.

    Raises:
        UserError: an object has a class that the model lacks, or the model has too few classes.
    """
    names, head = class_names_of(model), ClassHead.of(model)
    if names is None:
        return
    ignored = str(head.parameters or ("the prefixes of its class head",))
    checkpoint = f"checkpoint {shown(cfg.MODEL.WEIGHTS)}"
    remedy = f'to train a new class head, set MODEL.WEIGHTS_IGNORE "{ignored}"'
    if resumed:
        checkpoint = f"the checkpoint in {cfg.OUTPUT_DIR}"
        remedy = "resume with the data that the training began with, or start a new training"
    clips.match_classes(names, checkpoint, remedy)
    head.check_count(names, clips.source)

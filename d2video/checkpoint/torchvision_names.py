"""Names of ResNet parameters in torchvision and in detectron2."""

import re
from collections.abc import Collection

from d2video.checkpoint.convert import CheckpointFormat

# detectron2 name fragments and their torchvision counterparts, applied in order.
_RULES = [
    (r"^stem\.conv1\.norm\.", "bn1."),
    (r"^stem\.conv1\.", "conv1."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
    (r"\.conv(\d)\.norm\.", r".bn\1."),
]


def torchvision_resnet_name(name: str) -> str:
    """The torchvision name of a parameter of detectron2's ResNet: ``res2.0.conv1.norm.bias`` is
    ``layer1.0.bn1.bias`` there."""
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return re.sub(r"^res(\d)\.", lambda match: f"layer{int(match[1]) - 1}.", name)


_STEM = "stem.conv1.weight"
_OF_A_RESNET = {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight"}


def resnet_format(names: Collection[str], model: Collection[str]) -> CheckpointFormat | None:
    """The format of a classifier of torchvision or timm (the same names) for the backbone of a model.

    Args:
        names: of the file's parameters.
        model: names of the model's.

    Returns:
        None if the file is not a ResNet, or the model has no ResNet of detectron2.
    """
    stems = [name for name in model if name.endswith(_STEM)]
    if len(stems) != 1 or not {*names} >= _OF_A_RESNET:
        return None
    prefix = stems[0].removesuffix(_STEM)
    return CheckpointFormat(
        "ResNet of torchvision or timm",
        lambda name: torchvision_resnet_name(name.removeprefix(prefix)),
        not_in_file=tuple(name for name in model if not name.startswith(prefix)),
        not_in_model=("fc.",),
    )

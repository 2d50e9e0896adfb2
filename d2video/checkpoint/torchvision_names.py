"""Names of ResNet parameters in torchvision and in detectron2."""

import re

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

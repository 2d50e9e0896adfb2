"""detectron2's ``Instances`` in the host's memory."""

from detectron2.structures import Boxes, Instances
from torch import Tensor

from d2video.utils.transfer import to_host


def on_host(instances: Instances) -> Instances:
    """``instances.to("cpu")``, for which a GPU is waited for once, not once a field."""
    fields = instances.get_fields()
    boxes = {name for name, value in fields.items() if isinstance(value, Boxes)}
    names = [name for name, value in fields.items() if name in boxes or isinstance(value, Tensor)]
    found = to_host([fields[n].tensor if n in boxes else fields[n] for n in names])
    moved = {n: Boxes(value) if n in boxes else value for n, value in zip(names, found)}
    return Instances(instances.image_size, **{**fields, **moved})

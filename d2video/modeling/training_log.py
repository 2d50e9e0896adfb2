"""What set-prediction models log in training besides their losses."""

from detectron2.utils.events import get_event_storage
from torch import Tensor


def log_matching(class_error: Tensor, objects: Tensor) -> None:
    """Put what :func:`d2video.modeling.criterion.matching_metrics` returns into the event storage, as
    "class_error" and "predicted_objects" (the mean of ``objects``)."""
    storage = get_event_storage()
    storage.put_scalar("class_error", class_error.item(), smoothing_hint=False)
    storage.put_scalar("predicted_objects", objects.mean().item(), smoothing_hint=False)

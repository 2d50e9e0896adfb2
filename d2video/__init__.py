"""Video transformers on Detectron2.

::

    import d2video

    model = d2video.load("DETR/detr_panoptic_R50")
    for frame in model("street.mp4"):
        frame.plot(); frame.instances; frame.to_supervision()

The names below are imported when they are first used.
"""

import logging
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from d2video import model_zoo
    from d2video.config import get_cfg, load_cfg
    from d2video.data.datasets.coco import register_coco
    from d2video.data.datasets.coco_panoptic import register_coco_panoptic
    from d2video.data.datasets.coco_tracks import register_coco_tracks
    from d2video.data.datasets.crowdhuman import register_crowdhuman
    from d2video.data.datasets.image_folder import register_image_folder, register_image_pairs
    from d2video.data.datasets.mot import register_mot
    from d2video.data.datasets.video_classification import (
        register_kinetics,
        register_video_folders,
        register_video_list,
    )
    from d2video.data.datasets.ytvis import register_ytvis_instances
    from d2video.inference.loading import load
    from d2video.inference.predictor import Predictor
    from d2video.inference.tasks.frame import VideoFrame
    from d2video.utils.errors import UserError
    from d2video.visualization.options import DrawingOptions

from d2video.utils import detectron2_missing
from d2video.utils.lazy_names import lazy_names

__version__ = "0.2.0"

__all__ = [
    "DrawingOptions",
    "Predictor",
    "UserError",
    "VideoFrame",
    "__version__",
    "get_cfg",
    "load",
    "load_cfg",
    "model_zoo",
    "register_coco",
    "register_coco_panoptic",
    "register_coco_tracks",
    "register_crowdhuman",
    "register_image_folder",
    "register_image_pairs",
    "register_kinetics",
    "register_mot",
    "register_video_folders",
    "register_video_list",
    "register_ytvis_instances",
]

_MODULES = {
    "model_zoo": ["model_zoo"],
    "visualization.options": ["DrawingOptions"],
    "inference.loading": ["load"],
    "inference.predictor": ["Predictor"],
    "utils.errors": ["UserError"],
    "inference.tasks.frame": ["VideoFrame"],
    "config": ["get_cfg", "load_cfg"],
    "data.datasets.coco": ["register_coco"],
    "data.datasets.coco_panoptic": ["register_coco_panoptic"],
    "data.datasets.coco_tracks": ["register_coco_tracks"],
    "data.datasets.crowdhuman": ["register_crowdhuman"],
    "data.datasets.image_folder": ["register_image_folder", "register_image_pairs"],
    "data.datasets.mot": ["register_mot"],
    "data.datasets.video_classification": [
        "register_kinetics",
        "register_video_folders",
        "register_video_list",
    ],
    "data.datasets.ytvis": ["register_ytvis_instances"],
}
_import_name = lazy_names(__name__, _MODULES)


if not TYPE_CHECKING:  # for them, a name that is missing is an error

    def __getattr__(name: str) -> Any:
        try:
            return _import_name(name)
        except ImportError as error:
            if detectron2_missing.is_missing():
                raise ImportError(detectron2_missing.MESSAGE, name="detectron2") from error
            raise


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# Messages of other libraries that no user of this one can act on, each by its text and module.
warnings.filterwarnings(
    "ignore", r"`torch\.jit\.\w+` is (deprecated|not supported)", module=r"torch\.jit\."
)
warnings.filterwarnings(
    "ignore", "This DataLoader will create", UserWarning, r"torch\.utils\.data\.dataloader"
)
warnings.filterwarnings(
    "ignore", "`broadcast_buffers` is deprecated", FutureWarning, r"detectron2\.engine\.defaults"
)
warnings.filterwarnings("ignore", "pkg_resources is deprecated", module=r"detectron2\.model_zoo")
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # "No CUDA runtime is found"

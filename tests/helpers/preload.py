"""What the fork server of :mod:`tests.helpers.fresh_process` imports: libraries, d2video and its projects.

A process that is forked puts right what depends on its environment, or forgets d2video.
"""

import gc
import importlib
import sys

import av  # noqa: F401
import cv2  # noqa: F401
import detectron2.engine
import detectron2.evaluation
import detectron2.model_zoo
import detectron2.modeling
import detectron2.utils.visualizer  # noqa: F401
import safetensors.torch  # noqa: F401
import scipy.optimize  # noqa: F401
import skimage.metrics  # noqa: F401
import torch.distributed.launcher.api
import torch.utils.tensorboard  # noqa: F401
import torchvision  # noqa: F401
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY

_LIBRARIES_SETS = {*DatasetCatalog}

for _name in ("d2video.cli.train", "d2video.engine", "d2video.inference", "d2video.projects"):
    importlib.import_module(_name)
sys.modules["d2video.projects"].register_all()


def forget_d2video() -> None:
    """Undo its import, for a program that looks at imports or has another copy of d2video."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "d2video"]:
        del sys.modules[name]
    for registry in (META_ARCH_REGISTRY, BACKBONE_REGISTRY):
        for name, entry in list(registry):
            if entry.__module__.startswith("d2video."):
                del registry._obj_map[name]
    _forget_sets()


def register_sets_again() -> None:
    """Register d2video's data sets below the DETECTRON2_DATASETS of the environment, which is read when
    it is imported."""
    _forget_sets()
    importlib.reload(sys.modules["d2video.data.datasets.builtin"])
    sys.modules["d2video.projects.vtn.features"].register_default_folders()


def _forget_sets() -> None:
    for catalog in (DatasetCatalog, MetadataCatalog):
        for name in {*catalog} - _LIBRARIES_SETS:
            del catalog[name]


gc.collect()
gc.freeze()  # the collector of a forked process leaves these objects, and their pages, alone

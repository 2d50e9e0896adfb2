"""What the fork server of :mod:`tests.helpers.fresh_process` imports: libraries, nothing of d2video.

d2video reads DETECTRON2_DATASETS when it is imported, so each process imports it by itself (0.3 s).
"""

import gc

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

gc.collect()
gc.freeze()  # the collector of a forked process leaves these objects, and their pages, alone

"""Video transformers on Detectron2."""

import logging
import warnings

__version__ = "0.1.0"

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

"""Whether Triton can make kernels on this machine."""

import functools
import logging
import subprocess

import torch

logger = logging.getLogger(__name__)


@functools.cache
def runs_on(device: torch.device) -> bool:
    """Whether Triton runs on a device: a GPU of CUDA capability 7.0 or newer, or of ROCm, for which it can
    compile. A warning says why it cannot where it should."""
    if device.type != "cuda":
        return False
    try:
        import triton
    except ImportError:
        return False  # there is none for this system or this build of torch
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < (7, 0):
        return False
    try:
        # Builds the part of Triton that talks to the driver, which takes a C compiler and Python's headers.
        triton.runtime.driver.active.get_current_target()
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        logger.warning(
            "Triton cannot compile here (%s): deformable attention takes its slower form. "
            "Install a C compiler and Python's headers (Debian: gcc, python3-dev)",
            error,
        )
        return False
    return True

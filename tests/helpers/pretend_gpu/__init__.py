"""A GPU that is only pretended, to test on a CPU what a real one would refuse or wait for.

A tensor on the device says ``cuda:0`` and computes with real numbers on the CPU, so that matching,
tracking, autocast, backward passes and updates run as they would. Three things are looked after:

* the rules of CUDA on mixing devices: an operation on a tensor of each kind raises, as do ``numpy`` and
  the array interface of a tensor on the device (:mod:`.dispatch`);
* autocast with torch's own rules for CUDA (:mod:`.process`), and operations that are not deterministic there;
* waits: where the host stops until the device has done all that it was given. Each is recorded with
  the line that caused it (:mod:`.waits`).

What this cannot test: kernels, their speed and their memory, streams and events, NCCL, Inductor and Triton.

It changes torch for the whole process, so tests run functions with :func:`on_pretend_gpu`, in a process
of their own.
"""

from tests.helpers.pretend_gpu.process import on_pretend_gpu
from tests.helpers.pretend_gpu.waits import Wait, recorded

__all__ = ["Wait", "on_pretend_gpu", "recorded"]

"""Run exported models with numpy, OpenCV and onnxruntime: without torch and detectron2.

::

    from d2video.deploy import Runner

    runner = Runner("exported/")
    for answer in runner("street.mp4"):
        answer.to_dict()
"""

from d2video.utils.lazy_names import lazy_names

_MODULES = {"runner": ["Runner"], "answers": ["Answer"]}

__all__ = ["Answer", "Runner"]
__getattr__ = lazy_names(__name__, _MODULES)

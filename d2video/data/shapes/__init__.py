"""Generated videos of moving shapes: training data that needs no download.

:func:`render_video` is pure (specification and random generator in, pixels and masks out);
:func:`write_ytvis_shapes` puts such videos on disk in YouTube-VIS format.
"""

from .outlines import SHAPE_NAMES
from .render import ShapesVideo, draw_scene, render_video, video_rng
from .scene import Scene, SceneObject, ShapesSpec, sample_scene
from .ytvis import write_ytvis_shapes

__all__ = [
    "SHAPE_NAMES",
    "Scene",
    "SceneObject",
    "ShapesSpec",
    "ShapesVideo",
    "draw_scene",
    "render_video",
    "sample_scene",
    "video_rng",
    "write_ytvis_shapes",
]

"""Generated videos and images of shapes: training data that needs no download.

:func:`render_video` and :func:`render_image` are pure (specification and random generator in, pixels
and masks out); :func:`write_ytvis_shapes` puts videos on disk in YouTube-VIS format,
:func:`write_mot_shapes` in that of MOTChallenge, and :func:`write_coco_shapes` images in COCO
format, with panoptic labels if wanted. :func:`write_motion_videos` makes MP4 files whose classes
differ by motion only, and :func:`write_restoration_images` images with fine detail to be restored.
"""

from d2video.synthetic.coco import write_coco_shapes
from d2video.synthetic.folder import FORMATS
from d2video.synthetic.image import render_image
from d2video.synthetic.mot import write_mot_shapes
from d2video.synthetic.motion_videos import (
    JOINT_MOTION_CLASSES,
    MOTION_CLASSES,
    MotionSpec,
    render_motion_video,
    write_motion_videos,
)
from d2video.synthetic.outlines import SHAPE_NAMES
from d2video.synthetic.render import (
    ShapesVideo,
    draw_scene,
    draw_stuff,
    render_video,
    video_rng,
    whole_extents,
)
from d2video.synthetic.restoration import (
    RestorationSpec,
    render_detailed_image,
    write_restoration_images,
)
from d2video.synthetic.scene import Scene, SceneObject, sample_scene
from d2video.synthetic.spec import ShapesSpec
from d2video.synthetic.stuff import STUFF_NAMES
from d2video.synthetic.ytvis import write_ytvis_shapes

__all__ = [
    "FORMATS",
    "JOINT_MOTION_CLASSES",
    "MOTION_CLASSES",
    "SHAPE_NAMES",
    "STUFF_NAMES",
    "MotionSpec",
    "RestorationSpec",
    "Scene",
    "SceneObject",
    "ShapesSpec",
    "ShapesVideo",
    "draw_scene",
    "draw_stuff",
    "render_detailed_image",
    "render_image",
    "render_motion_video",
    "render_video",
    "sample_scene",
    "video_rng",
    "whole_extents",
    "write_coco_shapes",
    "write_mot_shapes",
    "write_motion_videos",
    "write_restoration_images",
    "write_ytvis_shapes",
]

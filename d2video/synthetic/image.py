"""Single images of generated scenes."""

from dataclasses import replace

import numpy as np

from d2video.synthetic.render import ShapesVideo, draw_without_hidden, finish_video, in_view
from d2video.synthetic.scene import sample_scene
from d2video.synthetic.spec import ShapesSpec
from d2video.utils.errors import UserError

# At worst (one object, which may enter or leave) a quarter of the moments show nothing.
_ATTEMPTS = 100
# A vanishing part of a scene, whose one frame is therefore at a random time of it.
_MOMENT = 1e-6


def image_spec(spec: ShapesSpec) -> ShapesSpec:
    """The specification of one frame at a random time of a scene of ``spec``."""
    return replace(spec, num_frames=(1, 1), duration=_MOMENT, speed=None)


def render_image(spec: ShapesSpec, rng: np.random.Generator) -> ShapesVideo:
    """Draw a random image, a video of one frame (L = 1), in which every object shows.

    ``num_frames``, ``duration`` and ``speed`` of the specification do not matter. Moments at which no object
    is well in view are drawn again.

    Raises:
        UserError: the objects are so small that not one pixel shows.
    """
    spec = image_spec(spec)
    for _ in range(_ATTEMPTS):
        scene, frames, masks = draw_without_hidden(sample_scene(spec, rng))
        if in_view(scene, masks).all():
            return finish_video(spec, rng, scene, frames, masks)
    raise UserError(
        f"shapes specification: no object shows in any of {_ATTEMPTS} images of {spec.width}x"
        f"{spec.height} pixels: make size {spec.size} or the images larger"
    )

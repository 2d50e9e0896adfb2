"""What happens in a generated video: which objects there are and how they and the camera move."""

from dataclasses import dataclass

import numpy as np

from d2video.synthetic.motion import crossing_paths, meeting_paths, roaming_path, scene_path
from d2video.synthetic.spec import ShapesSpec
from d2video.synthetic.stuff import stuff_background
from d2video.synthetic.textures import background_texture, object_texture

# Pixels of an object's texture along one side; it covers TEXTURE_REACH radii around the centre,
# which takes in the corners of every outline.
TEXTURE_SIZE = 48
TEXTURE_REACH = 2.2


@dataclass(frozen=True)
class SceneObject:
    """One object: outline and texture, and where it is in each of the L frames.

    Attributes:
        shape: its class, a name in :data:`~d2video.synthetic.SHAPE_NAMES`.
        texture: uint8 (TEXTURE_SIZE, TEXTURE_SIZE, 3), RGB; moves and turns with the object.
        centre: float (L, 2), x and y in pixels; may lie outside the frame.
        radius: float (L,), of the disc of the same area, in pixels.
        angle: float (L,), radians.
    """

    shape: str
    texture: np.ndarray
    centre: np.ndarray
    radius: np.ndarray
    angle: np.ndarray


@dataclass(frozen=True)
class Scene:
    """A whole video before it is drawn.

    Attributes:
        background: uint8 (h, w, 3), RGB, larger than a frame; its middle is the frame's middle.
        camera: float (L, 2, 3), for every frame the affine map from background pixels (x, y) to
            frame pixels.
        objects: farthest first; positions are those in the frame, the camera included.
        stuff: uint8 (h, w), the stuff class of every pixel of the background as an index into
            ``ShapesSpec.stuff``; None where the background has no label.
    """

    height: int
    width: int
    background: np.ndarray
    camera: np.ndarray
    objects: tuple[SceneObject, ...]
    stuff: np.ndarray | None = None


def _camera(
    rng: np.random.Generator, time: np.ndarray, frame: np.ndarray, strength: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pan (L, 2) in pixels, zoom (L,) and rotation (L,) in radians; none at half time."""
    pan = rng.uniform(-0.25, 0.25, 2) * frame
    zoom, turn = rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2)
    if rng.random() < 0.3:  # three videos in ten have a fixed camera
        strength = 0.0
    progress = strength * (time - 0.5)
    return progress[:, None] * pan, np.exp(progress * zoom), progress * turn


def sample_scene(spec: ShapesSpec, rng: np.random.Generator) -> Scene:
    """Draw a scene; in ``spec.crossings`` of those with two or more, two objects of a class cross."""
    length = int(rng.integers(spec.num_frames[0], spec.num_frames[1] + 1))
    start = rng.uniform(0, 1 - spec.duration) if spec.duration < 1 else 0.0
    time = start + spec.duration * (np.linspace(0, 1, length) if length > 1 else np.array([0.5]))
    frame = np.array([spec.width, spec.height], float)
    shorter = float(frame.min())

    extent = (2 * spec.height, 2 * spec.width)
    stuff = None
    if spec.stuff:
        background, stuff = stuff_background(rng, *extent, spec.stuff, spec.background_contrast)
    else:
        background = background_texture(rng, *extent, spec.background_contrast)
    pan, zoom, turn = _camera(rng, time, frame, spec.camera_motion)
    cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
    rotation = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1)  # (L, 2, 2)
    # The background is twice the frame, so its middle is the frame's lower right corner.
    camera = np.concatenate([rotation, (frame / 2 + pan - rotation @ frame)[:, :, None]], axis=2)

    count = int(rng.integers(spec.min_objects, spec.max_objects + 1))
    shapes = list(rng.choice(spec.classes, count))
    radii = rng.uniform(*spec.size, count) * shorter / 2
    if spec.speed is None:
        paths = [scene_path(rng, time, frame, radius) for radius in radii]
    else:
        steps = rng.uniform(*spec.speed) * 2 * radii
        paths = [
            roaming_path(rng, length, frame, *each, spec.leaving)
            for each in zip(radii, steps, strict=True)
        ]
    if count >= 2 and rng.random() < spec.crossings:
        shapes[1] = shapes[0]
        if spec.speed is None:
            paths[:2] = crossing_paths(rng, time, frame, radii[0])
        else:
            paths[:2] = meeting_paths(rng, length, frame, radii[:2], steps[:2], spec.leaving)

    colour = background.reshape(-1, 3).mean(axis=0)
    objects = []
    for shape, radius, path in zip(shapes, radii, paths, strict=True):
        label = spec.classes.index(str(shape))
        hue = label / len(spec.classes)
        wobble = np.sin(2 * np.pi * (time * rng.uniform(0.5, 1.5) + rng.random()))
        path = path + 0.05 * shorter * wobble[:, None] * rng.uniform(-1, 1, 2)
        growth = np.exp(rng.uniform(-0.4, 0.4) * (time - 0.5))
        angle = rng.uniform(0, 2 * np.pi) + rng.uniform(-np.pi, np.pi) * time
        centre = (rotation @ (path - frame / 2)[:, :, None])[:, :, 0] + frame / 2 + pan
        objects.append(
            SceneObject(
                shape=str(shape),
                texture=object_texture(
                    rng,
                    TEXTURE_SIZE,
                    colour,
                    spec.texture_contrast,
                    label if spec.class_textures else None,
                    (hue, hue + 0.5 / len(spec.classes)) if spec.class_colours else (0.0, 1.0),
                ),
                centre=centre,
                radius=radius * growth * zoom,
                angle=angle + turn,
            )
        )
    order = rng.permutation(count)
    ordered = tuple(objects[index] for index in order)
    return Scene(spec.height, spec.width, background, camera, ordered, stuff)

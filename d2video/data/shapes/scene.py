"""What happens in a generated video: which objects there are and how they and the camera move."""

from dataclasses import dataclass

import numpy as np

from .spec import ShapesSpec
from .stuff import stuff_background
from .textures import background_texture, object_texture

# Pixels of an object's texture along one side; it covers TEXTURE_REACH radii around the centre,
# which takes in the corners of every outline.
TEXTURE_SIZE = 48
TEXTURE_REACH = 2.2


@dataclass(frozen=True)
class SceneObject:
    """One object: outline and texture, and where it is in each of the L frames.

    Attributes:
        shape: its class, a name in :data:`~d2video.data.shapes.SHAPE_NAMES`.
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


def _inside(rng: np.random.Generator, frame: np.ndarray, radius: float) -> np.ndarray:
    """A point whose disc of ``radius`` lies in the frame (in its middle where it cannot)."""
    margin = np.minimum(radius, frame / 2)
    return rng.uniform(margin, frame - margin)


def _outside(rng: np.random.Generator, frame: np.ndarray, radius: float) -> np.ndarray:
    """A point beyond one of the four borders, so that nothing of the object is in the frame."""
    point = rng.uniform(0, frame)
    axis = rng.integers(2)
    # 1.6 radii: the reach of a triangle's corner, the farthest of the three usual classes.
    gap = 1.6 * radius
    point[axis] = -gap if rng.random() < 0.5 else frame[axis] + gap
    return point


def _blend(start: np.ndarray, end: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return start + (end - start) * weight[:, None]


def _path(
    rng: np.random.Generator, time: np.ndarray, frame: np.ndarray, radius: float
) -> np.ndarray:
    """A path of one object in time 0..1: it stays, enters, leaves, or leaves and returns."""
    kind = rng.choice(["stay", "enter", "leave", "return"], p=[0.4, 0.2, 0.2, 0.2])
    start, end = _inside(rng, frame, radius), _inside(rng, frame, radius)
    if kind == "stay":
        return _blend(start, end, time)
    outside = _outside(rng, frame, radius)
    if kind == "return":
        # Out and back with a rest outside, never more than two fifths of the time.
        away = np.clip((1 - np.abs(2 * time - 1)) * rng.uniform(1.2, 1.6), 0, 1)
        return _blend(_blend(start, end, time), outside[None], away)
    delay = rng.uniform(0, 0.3)
    clock = np.clip((time - delay) / (1 - delay), 0, 1)
    # Twice as fast on the way, so that the object is well in view for half of the time or more.
    entering = _blend(outside, start, np.clip(2 * clock, 0, 1)) + _blend(
        np.zeros(2), 0.3 * (end - start), clock
    )
    return entering if kind == "enter" else entering[::-1]


def _crossing_paths(
    rng: np.random.Generator, time: np.ndarray, frame: np.ndarray, radius: float
) -> list[np.ndarray]:
    """Two paths through one point near the middle of the frame and of the time."""
    meeting = frame * rng.uniform(0.35, 0.65, 2)
    direction = rng.uniform(0, 2 * np.pi) + np.array([0, rng.uniform(0.6, 1.4) * np.pi])
    middle = rng.uniform(0.4, 0.6)
    paths = []
    for angle in direction:
        reach = frame * np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(0.6, 0.85)
        paths.append(meeting + reach * (time - middle)[:, None])
    return paths


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
    """Draw a scene. In half of the videos with two or more objects, two of one class cross."""
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

    count = int(rng.integers(1, spec.max_objects + 1))
    shapes = list(rng.choice(spec.classes, count))
    radii = rng.uniform(*spec.size, count) * shorter / 2
    paths = [_path(rng, time, frame, radius) for radius in radii]
    if count >= 2 and rng.random() < 0.5:
        shapes[1] = shapes[0]
        paths[:2] = _crossing_paths(rng, time, frame, radii[0])

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

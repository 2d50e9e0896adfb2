"""What happens in a generated video: which objects there are and how they and the camera move."""

from dataclasses import dataclass

import numpy as np

from d2video.utils.errors import UserError

from .outlines import SHAPE_NAMES
from .textures import background_texture, object_texture

# Pixels of an object's texture along one side; it covers TEXTURE_REACH radii around the centre,
# which takes in the corners of every outline.
TEXTURE_SIZE = 48
TEXTURE_REACH = 2.2


@dataclass(frozen=True)
class ShapesSpec:
    """What generated videos look like.

    Args:
        num_frames: smallest and largest number of frames of a video, both included.
        height, width: of a frame, in pixels.
        duration: how much of a whole scene a video shows, in (0, 1]; 0.5 is half as much motion
            between two frames, and objects that have not come yet or are gone already.
        max_objects: a video has 1 to this many objects.
        classes: names out of :data:`SHAPE_NAMES`; the position is the class index.
        size: smallest and largest diameter of an object when it is first drawn (the diameter of
            the disc of the same area), as a fraction of the shorter side of the frame.
        camera_motion: strength of pan, zoom and rotation of the camera; 0 is a fixed camera.
        noise: standard deviation of the sensor noise, in grey levels (0..255).
        class_textures: every class has a pattern of its own, as zebras and leopards have, in any
            colours; False: patterns tell nothing, only the outline does.
        class_colours: every class has hues of its own, half of its share of the colour circle; False:
            colours tell nothing.
        texture_contrast: of the textures of objects, 0 (plain colours) to 1. Strong textures hide the
            outline, the only thing that tells the class.
        background_contrast: of the textures of backgrounds, in the same way.

    Raises:
        UserError: for a value out of range or an unknown class.
    """

    num_frames: tuple[int, int] = (8, 12)
    height: int = 64
    width: int = 96
    duration: float = 1.0
    max_objects: int = 3
    classes: tuple[str, ...] = ("circle", "square", "triangle")
    size: tuple[float, float] = (0.25, 0.45)
    camera_motion: float = 1.0
    noise: float = 3.0
    texture_contrast: float = 1.0
    background_contrast: float = 1.0
    class_textures: bool = False
    class_colours: bool = False

    def __post_init__(self) -> None:
        # A spec read back from JSON has lists; a frozen dataclass is filled in this way only.
        for name in ("num_frames", "classes", "size"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        unknown = [name for name in self.classes if name not in SHAPE_NAMES]
        if unknown:
            raise UserError(
                f"unknown shape classes {unknown}: choose from {', '.join(SHAPE_NAMES)}"
            )
        requirements = {
            "classes must be named, each once": 0 < len(self.classes) == len(set(self.classes)),
            "num_frames must be two numbers, 1 <= smallest <= largest": len(self.num_frames) == 2
            and 1 <= self.num_frames[0] <= self.num_frames[1],
            "height and width must be at least 16": min(self.height, self.width) >= 16,
            "duration must lie in 0..1, above 0": 0 < self.duration <= 1,
            "max_objects must be at least 1": self.max_objects >= 1,
            "size must be two fractions, 0 < smallest <= largest <= 1": len(self.size) == 2
            and 0 < self.size[0] <= self.size[1] <= 1,
            "texture_contrast must lie in 0..1": 0 <= self.texture_contrast <= 1,
            "background_contrast must lie in 0..1": 0 <= self.background_contrast <= 1,
            "camera_motion and noise must not be negative": min(self.camera_motion, self.noise)
            >= 0,
        }
        for requirement, met in requirements.items():
            if not met:
                raise UserError(f"shapes specification: {requirement}; got {self}")


@dataclass(frozen=True)
class SceneObject:
    """One object: outline and texture, and where it is in each of the L frames.

    Attributes:
        shape: its class, a name in :data:`SHAPE_NAMES`.
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
    """

    height: int
    width: int
    background: np.ndarray
    camera: np.ndarray
    objects: tuple[SceneObject, ...]


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

    background = background_texture(rng, 2 * spec.height, 2 * spec.width, spec.background_contrast)
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
    return Scene(
        spec.height, spec.width, background, camera, tuple(objects[index] for index in order)
    )

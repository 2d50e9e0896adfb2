"""Generated MP4 files whose classes differ in motion alone, and in nothing that a frame shows.

In every video one object runs through a row, one through a column (both leave the frame on one side
and come back on the other), one turns, and a lamp shines red, blue, or not at all: four cyclic
quantities. Of each, a video of L frames shows L evenly spaced values of one full cycle. Pictures
are made first, as an unordered set: each shows one value of every quantity, matched at random. The
class only decides the order in which they are shown: along the cycle of one of the quantities,
forwards or backwards, from a random one on. The other three jump about then.

So it follows that

* any single frame, wherever in the video it stands, has the same distribution for all classes: each
  quantity is anywhere on its cycle with equal probability, independent of the others;
* so has the set of all frames: a clip that takes all of them and shuffles them tells nothing.

Every frame is a key frame, so that compression keeps no trace of the frames before either.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from d2video.utils.errors import UserError
from d2video.utils.video_writer import VideoWriter

from .folder import write_folder
from .render import draw_scene, video_rng
from .scene import TEXTURE_SIZE, Scene, SceneObject
from .textures import background_texture, object_texture

# class -> (which quantity, along its cycle or against it). x grows to the right, y down, and the
# angle, with y down, clockwise.
_ORDERS = {
    "right": (0, 1),
    "left": (0, -1),
    "down": (1, 1),
    "up": (1, -1),
    "clockwise": (2, 1),
    "counter-clockwise": (2, -1),
    "red-then-blue": (3, 1),
    "blue-then-red": (3, -1),
}
MOTION_CLASSES: tuple[str, ...] = tuple(_ORDERS)
# Hues by which the objects are known: row, column, turning, and the lamp's two.
_HUES = (0.14, 0.35, 0.82, 0.0, 0.6)


@dataclass(frozen=True)
class MotionSpec:
    """What generated videos of motion look like.

    Args:
        num_frames: smallest and largest number of frames of a video, both included. The classes
            are alike in a shuffled clip if the clip takes all of them.
        height, width: of a frame, in pixels.
        fps: frames a second.
        classes: names out of :data:`MOTION_CLASSES`. Objects that none of them needs are left out.
        size: smallest and largest diameter of an object (of the disc of the same area), as a
            fraction of the shorter side of the frame.
        noise: standard deviation of the sensor noise, in grey levels (0..255).
        texture_contrast, background_contrast: of the textures, 0 (plain colours) to 1.

    Raises:
        UserError: for a value out of range or an unknown class.
    """

    num_frames: tuple[int, int] = (16, 16)
    height: int = 64
    width: int = 64
    fps: float = 8.0
    classes: tuple[str, ...] = MOTION_CLASSES
    size: tuple[float, float] = (0.25, 0.35)
    noise: float = 3.0
    texture_contrast: float = 0.3
    background_contrast: float = 0.3

    def __post_init__(self) -> None:
        for name in ("num_frames", "classes", "size"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        unknown = [name for name in self.classes if name not in _ORDERS]
        if unknown:
            known = ", ".join(MOTION_CLASSES)
            raise UserError(f"unknown motion classes {unknown}: choose from {known}")
        requirements = {
            "classes must be named, each once": 0 < len(self.classes) == len(set(self.classes)),
            # Of fewer frames forwards and backwards look alike.
            "num_frames must be two numbers, 3 <= smallest <= largest": len(self.num_frames) == 2
            and 3 <= self.num_frames[0] <= self.num_frames[1],
            "height and width must be even and at least 16": min(self.height, self.width) >= 16
            and self.height % 2 == self.width % 2 == 0,
            "fps must be above 0": self.fps > 0,
            "size must be two fractions, 0 < smallest <= largest <= 0.5": len(self.size) == 2
            and 0 < self.size[0] <= self.size[1] <= 0.5,
            "noise must not be negative": self.noise >= 0,
            "contrasts must lie in 0..1": 0 <= self.texture_contrast <= 1
            and 0 <= self.background_contrast <= 1,
        }
        for requirement, met in requirements.items():
            if not met:
                raise UserError(f"motion specification: {requirement}; got {self}")


def render_motion_video(spec: MotionSpec, rng: np.random.Generator, motion: str) -> np.ndarray:
    """Draw a random video of a class; with the same generator all classes have the same frames.

    Args:
        spec: what it looks like.
        rng: source of all draws.
        motion: a name of ``spec.classes``.

    Returns:
        uint8 (L,H,W,3), RGB.
    """
    length = int(rng.integers(spec.num_frames[0], spec.num_frames[1], endpoint=True))
    # step[q, i]: how far picture i is along the cycle of quantity q.
    step = np.stack([rng.permutation(length) for _ in range(4)])
    frames, _ = draw_scene(_scene(spec, rng, (step + rng.random((4, 1))) / length, step))
    noise = rng.normal(0, 1, frames.shape) * spec.noise
    frames = (frames + noise).round().clip(0, 255).astype(np.uint8)
    quantity, direction = _ORDERS[motion]
    order = np.roll(np.argsort(step[quantity]), int(rng.integers(length)))
    return frames[order[::direction]]


def _scene(
    spec: MotionSpec, rng: np.random.Generator, phase: np.ndarray, step: np.ndarray
) -> Scene:
    """Everything in its places, as if the unordered pictures were a video.

    Args:
        phase: float (4,L), parts of the cycle, 0..1.
        step: int (4,L), the same as whole numbers of 0..L-1.
    """
    length = phase.shape[1]
    frame = np.array([spec.width, spec.height], float)
    background = background_texture(rng, spec.height, spec.width, spec.background_contrast)
    colour = background.reshape(-1, 3).mean(axis=0)
    radius = rng.uniform(*spec.size, 4) * frame.min() / 2
    place = rng.uniform(0.2, 0.8, (4, 2)) * frame
    angle = rng.uniform(0, 2 * np.pi, 4)
    shapes = [*rng.choice(["circle", "square", "triangle", "heart"], 2), "arrow", "circle"]
    used = {_ORDERS[name][0] for name in spec.classes}

    objects = []

    def add(quantity: int, centre: np.ndarray, texture: np.ndarray, angles: np.ndarray) -> None:
        if quantity in used:
            size = np.full(length, radius[quantity])
            objects.append(SceneObject(str(shapes[quantity]), texture, centre, size, angles))

    textures = [
        object_texture(
            rng, TEXTURE_SIZE, colour, spec.texture_contrast, None, (hue - 0.02, hue + 0.02)
        )
        for hue in _HUES
    ]
    still = [np.repeat(at[None], length, axis=0) for at in place]
    for axis in (0, 1):
        centre, turned = still[axis].copy(), np.full(length, angle[axis])
        centre[:, axis] = phase[axis] * frame[axis]
        add(axis, centre, textures[axis], turned)
        # What leaves on one side is to be seen on the other.
        copy = centre.copy()
        copy[:, axis] += np.where(copy[:, axis] < frame[axis] / 2, 1, -1) * frame[axis]
        add(axis, copy, textures[axis], turned)
    add(2, still[2], textures[2], 2 * np.pi * phase[2])
    # A third of the cycle each: red, blue, dark. What does not shine is far away.
    state = 3 * step[3] // length
    for lamp in (0, 1):
        lit = (state == lamp)[:, None]
        add(3, np.where(lit, still[3], -10 * frame), textures[3 + lamp], np.zeros(length))
    objects = [objects[k] for k in rng.permutation(len(objects))]
    camera = np.tile(np.eye(2, 3), (length, 1, 1))
    return Scene(spec.height, spec.width, background, camera, tuple(objects))


def write_motion_videos(
    root: str | os.PathLike,
    splits: Mapping[str, int],
    spec: MotionSpec | None = None,
    seed: int = 0,
    *,
    reuse: bool = True,
    overwrite: bool = False,
    progress: bool = True,
) -> bool:
    """Write a dataset, folders of classes: ``<root>/<split>/<class>/00000.mp4`` and so on.

    Args:
        splits: name of each split and how many videos it has, over all classes in turn.
        spec: what the videos look like (default: ``MotionSpec()``).
        seed: video ``index`` of a split depends on seed, split name, index and class alone.
        reuse, overwrite: as in :func:`write_folder`.
        progress: show a progress bar per split.

    Returns:
        True if the dataset was written, False if the one there was kept.

    Raises:
        UserError: a split has fewer videos than there are classes, or as :func:`write_folder`.
    """
    spec = spec or MotionSpec()
    few = {name: count for name, count in splits.items() if 0 < count < len(spec.classes)}
    if few:
        raise UserError(
            f"motion dataset {root}: every split needs a video for each of the "
            f"{len(spec.classes)} classes: {few}"
        )

    def write_split(folder: Path, name: str, count: int) -> None:
        for index in tqdm(range(count), desc=f"motion {name}", unit="video", disable=not progress):
            motion = spec.classes[index % len(spec.classes)]
            path = folder / name / motion / f"{index:05d}.mp4"
            with VideoWriter(path, spec.fps, key_frame_interval=1) as writer:
                for frame in render_motion_video(spec, video_rng(seed, name, index), motion):
                    writer.write(frame)

    return write_folder(
        root,
        splits,
        spec,
        seed,
        {"format": "motion"},
        write_split,
        entries=lambda name: (name,),
        reuse=reuse,
        overwrite=overwrite,
    )

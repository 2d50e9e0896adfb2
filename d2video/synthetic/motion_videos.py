"""Generated MP4 files whose classes differ in motion alone: in nothing that a frame shows.

There are three scenes: an object runs through the frame (what leaves it on one side comes back on the
other), an arrow turns like the hand of a clock (and is hidden in the lowest quarter), and a lamp shines red
and blue and goes out, over and over. A scene's motion is one full cycle in evenly spaced steps, from a
random place on, in one of two directions.

A video of :data:`MOTION_CLASSES` shows one scene; scene and direction are the class. A video of
:data:`JOINT_MOTION_CLASSES` shows all three; their directions together are the class. The scenes move one
after the other, in random order, a third of the video each, and otherwise stand still.

Each video is drawn forwards, noise and all, and each scene's part is shown backwards where the class says
so. So, of the two classes of a scene and of the eight of all three,

* any single frame, wherever in the video it stands, has the same distribution: each scene is anywhere on
  its cycle with equal probability, independently of the others;
* so has the set of all frames: a clip that takes all of them and shuffles them tells nothing. (If all
  scenes moved at once it would: frames in which the object is far right and the arrow points up, and
  such, tell whether two directions belong together.)

A frame of one scene tells which scene it is; without the order of the frames one is right in half of the
cases, and in an eighth where all three are shown.

Every frame is a key frame, so that compression keeps no trace of the frames before either.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from d2video.synthetic.folder import Samples, register_format, write_folder
from d2video.synthetic.render import draw_scene
from d2video.synthetic.scene import TEXTURE_SIZE, Scene, SceneObject
from d2video.synthetic.textures import background_texture, object_texture
from d2video.utils.errors import UserError

# What a scene's two directions are called, forwards first. x grows to the right; with y down the angle grows
# clockwise; the lamp forwards: red, blue, dark, red, ...
_DIRECTIONS = (("right", "left"), ("clockwise", "counterclockwise"), ("red-blue", "blue-red"))
MOTION_CLASSES: tuple[str, ...] = tuple(name for names in _DIRECTIONS for name in names)
# Videos of all three scenes.
JOINT_MOTION_CLASSES: tuple[str, ...] = tuple(map("_".join, product(*_DIRECTIONS)))
# class -> the scenes that it shows, each with +1 for forwards or -1.
_SIGNS = {
    name: (k, sign) for k, names in enumerate(_DIRECTIONS) for name, sign in zip(names, (1, -1))
}
_CLASSES = {
    name: tuple(_SIGNS[part] for part in name.split("_"))
    for name in (*MOTION_CLASSES, *JOINT_MOTION_CLASSES)
}
# Hues of each scene's objects.
_HUES = ((0.14,), (0.82,), (0.0, 0.6))
# How far behind the frame's border the running object turns up and goes, and how far the arrow's middle
# is from where it turns, in radii of the disc of the same area.
_BEYOND = 1.2
_HAND = 1.7


@dataclass(frozen=True)
class MotionSpec:
    """What generated videos of motion look like.

    Args:
        num_frames: smallest and largest number of frames of a video, both included; at least 3 a
            scene. Classes are alike in a shuffled clip if the clip takes all of them.
        height, width: of a frame, in pixels.
        fps: frames a second.
        classes: names out of :data:`MOTION_CLASSES` and :data:`JOINT_MOTION_CLASSES`.
        size: smallest and largest diameter of an object (of the disc of the same area), as a
            fraction of the shorter side of the frame.
        brightness: least and greatest of the background, 0..1, as in :func:`background_texture`.
        noise: standard deviation of the sensor noise, in grey levels (0..255).
        texture_contrast, background_contrast: of the textures, 0 (plain colours) to 1.

    Raises:
        UserError: for a value out of range or an unknown class.
    """

    num_frames: tuple[int, int] = (8, 8)
    height: int = 64
    width: int = 64
    fps: float = 8.0
    classes: tuple[str, ...] = MOTION_CLASSES
    size: tuple[float, float] = (0.25, 0.35)
    brightness: tuple[float, float] = (0.25, 0.75)
    noise: float = 3.0
    texture_contrast: float = 0.3
    background_contrast: float = 0.3

    def __post_init__(self) -> None:
        for name in ("num_frames", "classes", "size", "brightness"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        unknown = [name for name in self.classes if name not in _CLASSES]
        if unknown:
            known = ", ".join(_CLASSES)
            raise UserError(f"unknown motion classes {unknown}: choose from {known}")
        # With fewer than three frames of a scene forwards and backwards look alike.
        least = 3 * max((len(_CLASSES[name]) for name in self.classes), default=1)
        requirements = {
            "classes must be named, each once": 0 < len(self.classes) == len(set(self.classes)),
            f"num_frames must be two numbers, {least} <= smallest <= largest": len(self.num_frames)
            == 2
            and least <= self.num_frames[0] <= self.num_frames[1],
            "height and width must be even and at least 16": min(self.height, self.width) >= 16
            and self.height % 2 == self.width % 2 == 0,
            "fps must be above 0": self.fps > 0,
            "size must be two fractions, 0 < smallest <= largest <= 0.5": len(self.size) == 2
            and 0 < self.size[0] <= self.size[1] <= 0.5,
            "brightness must be two numbers, 0 <= smallest <= largest <= 1": len(self.brightness)
            == 2
            and 0 <= self.brightness[0] <= self.brightness[1] <= 1,
            "noise must not be negative": self.noise >= 0,
            "contrasts must be in 0..1": 0 <= self.texture_contrast <= 1
            and 0 <= self.background_contrast <= 1,
        }
        for requirement, met in requirements.items():
            if not met:
                raise UserError(f"motion specification: {requirement}; got {self}")


def render_motion_video(spec: MotionSpec, rng: np.random.Generator, motion: str) -> np.ndarray:
    """Draw a random video of a class; with the same generator both classes of a scene, and all
    classes of three, have the same frames.

    Args:
        spec: what it looks like.
        rng: source of all draws.
        motion: a name of ``spec.classes``.

    Returns:
        uint8 (L,H,W,3), RGB.
    """
    length = int(rng.integers(spec.num_frames[0], spec.num_frames[1], endpoint=True))
    scenes, directions = zip(*_CLASSES[motion], strict=True)
    parts = np.array_split(np.arange(length), len(scenes))
    turns = [parts[k] for k in rng.permutation(len(scenes))]
    frames, _ = draw_scene(_scene(spec, rng, dict(zip(scenes, turns, strict=True)), length))
    noise = rng.normal(0, 1, frames.shape) * spec.noise
    frames = (frames + noise).round().clip(0, 255).astype(np.uint8)
    for direction, turn in zip(directions, turns, strict=True):
        frames[turn] = frames[turn[::direction]]
    return frames


def _scene(
    spec: MotionSpec, rng: np.random.Generator, turns: Mapping[int, np.ndarray], length: int
) -> Scene:
    """What a video shows, all scenes forwards.

    Args:
        turns: of each scene that is shown (0 the running object, 1 the arrow, 2 the lamp) the
            numbers of the frames in which it moves.
        length: L, number of frames.
    """
    frame = np.array([spec.width, spec.height], float)
    background = background_texture(
        rng, spec.height, spec.width, spec.background_contrast, spec.brightness
    )
    colour = background.reshape(-1, 3).mean(axis=0)
    # The lamp and the way of the object are apart where both are shown.
    above = rng.permutation([-1, 1]) if len(turns) > 1 else (0, 0)
    objects = []
    for scene, turn in turns.items():
        radius = rng.uniform(*spec.size) * frame.min() / 2
        place = rng.uniform(0.3, 0.7, 2)
        if scene == 1:
            place = 0.5 + (place - 0.5) / 2  # the arrow needs room all around
        elif len(turns) > 1:
            place[1] = 0.5 + above[scene // 2] * (0.15 + abs(place[1] - 0.5) / 2)
        centre = np.tile(place * frame, (length, 1))
        angles = np.full(length, rng.uniform(0, 2 * np.pi))
        cycle = np.full(length, rng.random())
        cycle[turn] += np.arange(len(turn)) / len(turn)
        cycle %= 1
        shape, looks = "circle", [np.ones(length, bool)]
        if scene == 0:
            shape = str(rng.choice(["circle", "square", "triangle", "heart"]))
            # The way begins just before the frame and ends just behind it.
            centre[:, 0] = (frame[0] + 2 * _BEYOND * radius) * cycle - _BEYOND * radius
        elif scene == 1:
            shape, angles = "arrow", 2 * np.pi * cycle
            centre += np.stack([np.cos(angles), np.sin(angles)], axis=1) * _HAND * radius
            looks = [np.sin(angles) < np.cos(np.pi / 4)]  # y points down
        else:
            looks = [cycle < 1 / 3, (cycle >= 1 / 3) & (cycle < 2 / 3)]  # red, blue; then dark
        for hue, seen in zip(_HUES[scene], looks, strict=True):
            texture = object_texture(
                rng, TEXTURE_SIZE, colour, spec.texture_contrast, None, (hue - 0.02, hue + 0.02)
            )
            at = np.where(seen[:, None], centre, -10 * frame)
            objects.append(SceneObject(shape, texture, at, np.full(length, radius), angles))
    objects.sort(key=lambda item: item.shape == "arrow")  # it is thin: in front of the others
    camera = np.tile(np.eye(2, 3), (length, 1, 1))
    return Scene(spec.height, spec.width, background, camera, tuple(objects))


@register_format("motion", MotionSpec())
def write_motion_videos(
    root: str | os.PathLike,
    splits: Mapping[str, int],
    spec: MotionSpec | None = None,
    seed: int = 0,
    **how: Any,
) -> bool:
    """Write a dataset, folders of classes: ``<root>/<split>/<class>/00000.mp4`` and so on.

    Args:
        splits: name of each split and how many videos it has, over all classes in turn.
        spec: what the videos look like (default: ``MotionSpec()``).
        seed, how: as in :func:`write_folder`.

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

    def write_split(folder: Path, name: str, samples: Samples) -> None:
        from d2video.video.video_writer import VideoWriter  # imports torch

        for index, rng in samples:
            motion = spec.classes[index % len(spec.classes)]
            path = folder / name / motion / f"{index:05d}.mp4"
            with VideoWriter(path, spec.fps, key_frame_interval=1) as writer:
                for frame in render_motion_video(spec, rng, motion):
                    writer.write(frame)

    return write_folder(root, splits, spec, seed, {"format": "motion"}, write_split, **how)

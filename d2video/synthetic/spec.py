"""What generated videos and images look like: the choices of whoever makes a dataset."""

from dataclasses import dataclass

from d2video.synthetic.outlines import SHAPE_NAMES
from d2video.synthetic.stuff import STUFF_NAMES
from d2video.utils.errors import UserError


@dataclass(frozen=True)
class ShapesSpec:
    """What generated videos look like.

    Args:
        num_frames: smallest and largest number of frames of a video, both included.
        height, width: of a frame, in pixels.
        duration: how much of a whole scene a video shows, in (0, 1]; 0.5 is half as much motion
            between two frames, and objects that have not come yet or are gone already.
        max_objects: a video has ``min_objects`` to this many objects.
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
        stuff: names out of :data:`STUFF_NAMES`; the position is the stuff class's index. The
            background is then made of two of them (or of the one) and is labelled; empty: it is one
            random texture without a label.
        min_objects: smallest number of objects; those that cannot be seen for most of the video are
            left out afterwards.
        crossings: share of the videos with two or more objects in which two of one class cross.
        speed: smallest and largest speed of the objects, in their own diameters from one frame to
            the next, drawn once a video; they roam then, and leave and return, for as long as the
            video is (``duration`` then matters to the camera alone). None: they have one way to go
            in a scene, however many frames show it.
        leaving: of objects that roam, how often their next aim lies beyond a border, 0 to 1: the
            object leaves, rests there for up to a fifth of the video, and returns.

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
    stuff: tuple[str, ...] = ()
    min_objects: int = 1
    crossings: float = 0.5
    speed: tuple[float, float] | None = None
    leaving: float = 0.3

    def __post_init__(self) -> None:
        # A spec read back from JSON has lists; a frozen dataclass is filled in this way only.
        for name in ("num_frames", "classes", "size", "stuff"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.speed is not None:
            object.__setattr__(self, "speed", tuple(self.speed))
        for kind, names, known in (
            ("shape", self.classes, SHAPE_NAMES),
            ("stuff", self.stuff, STUFF_NAMES),
        ):
            unknown = [name for name in names if name not in known]
            if unknown:
                raise UserError(f"unknown {kind} classes {unknown}: choose from {', '.join(known)}")
        requirements = {
            "classes must be named, each once": 0 < len(self.classes) == len(set(self.classes)),
            "stuff classes must be named once each": len(self.stuff) == len(set(self.stuff)),
            "num_frames must be two numbers, 1 <= smallest <= largest": len(self.num_frames) == 2
            and 1 <= self.num_frames[0] <= self.num_frames[1],
            "height and width must be at least 16": min(self.height, self.width) >= 16,
            "duration must be in 0..1, above 0": 0 < self.duration <= 1,
            "max_objects must be at least 1": self.max_objects >= 1,
            "min_objects must be in 1..max_objects": 1 <= self.min_objects <= self.max_objects,
            "size must be two fractions, 0 < smallest <= largest <= 1": len(self.size) == 2
            and 0 < self.size[0] <= self.size[1] <= 1,
            "crossings and leaving must be in 0..1": 0 <= self.crossings <= 1
            and 0 <= self.leaving <= 1,
            "speed must be two numbers, 0 < smallest <= largest, or None": self.speed is None
            or (len(self.speed) == 2 and 0 < self.speed[0] <= self.speed[1]),
            "texture_contrast must be in 0..1": 0 <= self.texture_contrast <= 1,
            "background_contrast must be in 0..1": 0 <= self.background_contrast <= 1,
            "camera_motion and noise must not be negative": min(self.camera_motion, self.noise)
            >= 0,
        }
        for requirement, met in requirements.items():
            if not met:
                raise UserError(f"shapes specification: {requirement}; got {self}")

"""From a scene to pixels and the masks of what is visible."""

import zlib
from dataclasses import dataclass, replace

import cv2
import numpy as np

from d2video.synthetic.outlines import shape_outline
from d2video.synthetic.scene import TEXTURE_REACH, TEXTURE_SIZE, Scene, SceneObject, sample_scene
from d2video.synthetic.spec import ShapesSpec

# Outlines are filled on a grid this many times finer: cv2.fillPoly's own antialiasing makes every
# shape half a pixel larger all around.
_FINER = 4
# cv2.fillPoly takes fixed-point coordinates with this many fractional bits.
_SHIFT = 4

# An object whose visible part is at least this share of its area counts as in view; it must be in
# view in at least this share of the frames, or the video is drawn without it.
_MIN_VISIBLE_AREA = 0.3
_MIN_VISIBLE_FRAMES = 0.5


@dataclass(frozen=True)
class ShapesVideo:
    """A drawn video of L frames and N objects.

    Attributes:
        frames: uint8 (L, H, W, 3), RGB.
        masks: bool (N, L, H, W), the visible part of each object: no pixel belongs to two, and a
            frame in which an object is outside or wholly covered is all False.
        classes: int64 (N,), indices into ``ShapesSpec.classes``.
        ids: int64 (N,), 1..N, the same object throughout the video.
        stuff: uint8 (L, H, W), what lies behind the objects, as indices into ``ShapesSpec.stuff``;
            None where that is empty.
    """

    frames: np.ndarray
    masks: np.ndarray
    classes: np.ndarray
    ids: np.ndarray
    stuff: np.ndarray | None = None


def video_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """The random generator of one video: a function of these three alone.

    So a longer split begins with the same videos as a shorter one, and splits never share any.
    """
    return np.random.default_rng([seed, zlib.crc32(split.encode()), index])


def render_video(spec: ShapesSpec, rng: np.random.Generator) -> ShapesVideo:
    """Draw a random video.

    Objects that would be out of sight for most of the video are left out of the scene, one after
    the other from the least visible on, until the others can be seen; one always stays.
    """
    scene, frames, masks = draw_without_hidden(sample_scene(spec, rng))
    return finish_video(spec, rng, scene, frames, masks)


def draw_without_hidden(scene: Scene) -> tuple[Scene, np.ndarray, np.ndarray]:
    """Leave out objects as :func:`render_video` does.

    Returns:
        The scene that is left, and its frames and masks as :func:`draw_scene` gives them.
    """
    frames, masks = draw_scene(scene)
    while len(scene.objects) > 1:
        seen = in_view(scene, masks).mean(axis=1)
        worst = int(seen.argmin())
        if seen[worst] >= _MIN_VISIBLE_FRAMES:
            break
        scene = replace(scene, objects=scene.objects[:worst] + scene.objects[worst + 1 :])
        frames, masks = draw_scene(scene)
    return scene, frames, masks


def in_view(scene: Scene, masks: np.ndarray) -> np.ndarray:
    """Which objects show enough of themselves in which frames: bool (N, L)."""
    area = np.pi * np.stack([item.radius for item in scene.objects]) ** 2  # (N, L)
    return masks.sum(axis=(2, 3)) >= _MIN_VISIBLE_AREA * area


def finish_video(
    spec: ShapesSpec,
    rng: np.random.Generator,
    scene: Scene,
    frames: np.ndarray,
    masks: np.ndarray,
) -> ShapesVideo:
    """Add noise and labels to a drawn scene."""
    noise = rng.normal(0, 1, frames.shape) * spec.noise
    return ShapesVideo(
        frames=(frames + noise).round().clip(0, 255).astype(np.uint8),
        masks=masks,
        classes=np.array([spec.classes.index(item.shape) for item in scene.objects], np.int64),
        ids=np.arange(1, len(scene.objects) + 1),
        stuff=draw_stuff(scene),
    )


def draw_scene(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Draw a scene, farthest object first.

    Returns:
        frames uint8 (L, H, W, 3) RGB without noise, and visible masks bool (N, L, H, W) in the
        order of ``scene.objects``.
    """
    size = (scene.width, scene.height)
    length, count = len(scene.camera), len(scene.objects)
    frames = np.empty((length, scene.height, scene.width, 3), np.uint8)
    masks = np.zeros((count, length, scene.height, scene.width), bool)
    for t in range(length):
        canvas = cv2.warpAffine(
            scene.background, scene.camera[t], size, borderMode=cv2.BORDER_REFLECT
        )
        for index, item in enumerate(scene.objects):
            coverage = _coverage(item, t, size)
            if not coverage.any():
                continue
            texture = cv2.warpAffine(
                item.texture, _texture_map(item, t), size, borderMode=cv2.BORDER_REFLECT
            )
            weight = coverage[..., None].astype(np.float32) / 255
            canvas = (canvas + (texture.astype(np.float32) - canvas) * weight).astype(np.uint8)
            covered = coverage >= 128
            masks[:index, t] &= ~covered
            masks[index, t] = covered
        frames[t] = canvas
    return frames, masks


def draw_stuff(scene: Scene) -> np.ndarray | None:
    """The scene's stuff labels as the camera sees them, uint8 (L, H, W); None without stuff."""
    if scene.stuff is None:
        return None
    size = (scene.width, scene.height)
    views = [
        cv2.warpAffine(
            scene.stuff, view, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT
        )
        for view in scene.camera
    ]
    return np.stack(views)


def whole_extents(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """How large the objects are, covered or not, within the frame and beyond its borders.

    Returns:
        boxes int64 (N, L, 4), XYXY in pixels, around the pixels that an object would have on a
        canvas without borders or other objects; and the number of these pixels, int64 (N, L).
    """
    count, length = len(scene.objects), len(scene.camera)
    boxes = np.zeros((count, length, 4), np.int64)
    areas = np.zeros((count, length), np.int64)
    for index, item in enumerate(scene.objects):
        reach = np.ceil(TEXTURE_REACH * item.radius).astype(int) + 1
        corner = np.floor(item.centre).astype(int) - reach[:, None]  # (L, 2), x and y
        moved = replace(item, centre=item.centre - corner)
        for t in range(length):
            side = 2 * int(reach[t]) + 1
            whole = _coverage(moved, t, (side, side)) >= 128
            columns, rows = (np.flatnonzero(whole.any(axis)) for axis in (0, 1))
            areas[index, t] = whole.sum()
            if len(rows):
                low, high = [columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]
                boxes[index, t] = np.concatenate([low + corner[t], high + corner[t]])
    return boxes, areas


def _similarity(item: SceneObject, t: int, scale: float) -> np.ndarray:
    """The (2, 2) rotation of the object at frame t, times ``scale``."""
    cos, sin = np.cos(item.angle[t]), np.sin(item.angle[t])
    return scale * np.array([[cos, -sin], [sin, cos]])


def _coverage(item: SceneObject, t: int, size: tuple[int, int]) -> np.ndarray:
    """How much of each pixel the object covers at frame t: uint8 (H, W), 0..255."""
    outline = shape_outline(item.shape) @ _similarity(item, t, item.radius[t]).T + item.centre[t]
    # Whole coordinates are the centres of pixels, on both grids.
    outline = (outline + 0.5) * _FINER - 0.5
    canvas = np.zeros((size[1] * _FINER, size[0] * _FINER), np.uint8)
    cv2.fillPoly(canvas, [(outline * 2**_SHIFT).round().astype(np.int32)], 255, shift=_SHIFT)
    return cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)


def _texture_map(item: SceneObject, t: int) -> np.ndarray:
    """The affine map (2, 3) from texture pixels to frame pixels at frame t."""
    linear = _similarity(item, t, 2 * TEXTURE_REACH * item.radius[t] / TEXTURE_SIZE)
    middle = np.full(2, TEXTURE_SIZE / 2)
    return np.concatenate([linear, (item.centre[t] - linear @ middle)[:, None]], axis=1)

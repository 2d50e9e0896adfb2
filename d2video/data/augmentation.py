"""Augmentations of a clip: drawn once on its first frame, replayed on every frame.

Each class here is a detectron2 ``T.Augmentation``; detectron2's own fit as well. Their draws come
from the ``rng`` of the :class:`ClipAugInput` that they are applied to, so that a clip is determined
by one seed::

    clip_input = ClipAugInput(first_frame, rng)
    transforms = T.AugmentationList(augmentations)(clip_input)
    frames = [transformed(frame, transforms) for frame in clip]

Transforms must treat ``apply_segmentation`` as a pure choice of pixels (nearest neighbour): the
clip mapper pushes pixel indices through it once and gathers all masks of the clip with them.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from fvcore.common.registry import Registry
from fvcore.transforms.transform import Transform

from d2video.data.frame_pixels import size_of, steps_of, transformed
from d2video.data.photometric import PhotometricDistortion, PhotometricTransform
from d2video.utils.errors import UserError
from d2video.utils.registry import lookup
from d2video.utils.shortest_edge import shortest_edge_size
from d2video.video.image_io import Pixels

AUGMENTATION_REGISTRY = Registry("AUGMENTATION")
AUGMENTATION_REGISTRY.__doc__ = "Augmentations by name, chosen by INPUT.AUGMENTATIONS."

MaskSampling = Literal["center", "corner"]


class ClipAugInput(T.AugInput):
    """What augmentations are drawn from: a clip's first frame, uint8 (H,W,3), and a generator.

    The frame is augmented when its pixels are asked for.

    Attributes:
        blank: black, of the size of the augmented frame; it takes no memory.
    """

    def __init__(self, image: Pixels, rng: np.random.Generator, fast_resize: bool = False):
        """
        Args:
            fast_resize: see :func:`~d2video.data.frame_pixels.transformed`.
        """
        self._frame, self._size = image, size_of(image)
        self._waiting: list[Transform] = []
        self._fast_resize = fast_resize
        self.rng = rng

    @property
    def image(self) -> np.ndarray:
        """The augmented frame, (h,w,3)."""
        waiting, self._waiting = T.TransformList(self._waiting), []
        self._frame = transformed(self._frame, waiting, self._fast_resize)
        return self._frame

    @property
    def blank(self) -> np.ndarray:
        return np.broadcast_to(np.uint8(0), (*self._size, 3))

    def transform(self, tfm: Transform) -> None:
        """Augment the frame, now or later."""
        self._waiting.append(tfm)
        for step in steps_of(tfm):
            if isinstance(step, T.ResizeTransform):
                self._size = step.new_h, step.new_w
            elif isinstance(step, T.CropTransform):
                height, width = self._size
                self._size = min(step.h, height - step.y0), min(step.w, width - step.x0)
            elif isinstance(step, T.PadTransform):
                height, width = self._size
                self._size = height + step.y0 + step.y1, width + step.x0 + step.x1
            elif not isinstance(step, _KEEPING_SIZE):
                self._size = size_of(self.image)
                break


# A flip moves pixels only.
_KEEPING_SIZE = (T.NoOpTransform, T.HFlipTransform, T.VFlipTransform, PhotometricTransform)


class ClipAugmentation(T.Augmentation):
    """An augmentation that is drawn from the size of the frames, not from their pixels."""

    input_args = ("blank", "rng")


def build_augmentations(specs: Sequence[Sequence[Any]]) -> list[T.Augmentation]:
    """Build the augmentations of ``INPUT.AUGMENTATIONS``.

    Args:
        specs: entries ``[name, {argument: value}]`` (the dict may be left out).

    Raises:
        UserError: an entry has another form, or names an unknown augmentation or argument.
    """
    key = "INPUT.AUGMENTATIONS"
    built = []
    for spec in specs:
        name, arguments = (*spec, {})[:2] if isinstance(spec, (list, tuple)) and spec else (None, 0)
        if not isinstance(name, str) or not isinstance(arguments, dict) or len(spec) > 2:
            raise UserError(f"{key}: entry {spec!r} must have the form [name, {{argument: value}}]")
        cls = lookup(AUGMENTATION_REGISTRY, name, key)
        try:
            built.append(cls(**arguments))
        except (TypeError, ValueError) as error:
            raise UserError(f"{key}: {name} does not take {arguments}: {error}") from error
    return built


def configured_augmentations(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """INPUT.AUGMENTATIONS for training; for testing only a resizing, by INPUT.MIN_SIZE_TEST.

    Raises:
        UserError: as :func:`build_augmentations`.
    """
    if is_train:
        return build_augmentations(cfg.INPUT.AUGMENTATIONS)
    return [ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)]


class ClipResizeTransform(T.ResizeTransform):
    """Bilinear resizing of frames by Pillow, nearest-neighbour resizing of label maps."""

    def __init__(
        self, h: int, w: int, new_h: int, new_w: int, mask_sampling: MaskSampling = "center"
    ):
        """
        Args:
            h, w: size of the frames, in pixels.
            new_h, new_w: size to resize to.
            mask_sampling: which pixel of a label map is nearest to an output pixel: that under its
                ``"center"`` (as frames are sampled) or that under its top left ``"corner"`` (the
                official VisTR code; shifts masks against the frame by up to half a pixel).
        """
        super().__init__(h, w, new_h, new_w)
        self.mask_sampling = mask_sampling

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """Resize a label map (H,W) or (H,W,N) of any dtype to (new_h,new_w[,N])."""
        rows = self._nearest(self.h, self.new_h)
        columns = self._nearest(self.w, self.new_w)
        return segmentation[rows[:, None], columns]

    def _nearest(self, size: int, new_size: int) -> np.ndarray:
        offset = np.float32(0.5 if self.mask_sampling == "center" else 0.0)
        # float32 as in torch, whose rounding the official masks follow.
        scale = np.float32(size) / np.float32(new_size)
        source = (np.arange(new_size, dtype=np.float32) + offset) * scale
        return np.minimum(source.astype(np.int64), size - 1)


@AUGMENTATION_REGISTRY.register()
class RandomFlip(ClipAugmentation):
    """Flip the clip with a probability, left to right or upside down.

    Args:
        prob: in [0, 1].
        vertical: upside down, for scenes without up and down.
    """

    def __init__(self, prob: float = 0.5, vertical: bool = False):
        if not 0 <= prob <= 1:
            raise ValueError(f"prob {prob} is not in 0..1")
        self.prob = prob
        self.vertical = vertical

    def get_transform(self, image: np.ndarray, rng: np.random.Generator) -> Transform:
        if rng.random() >= self.prob:
            return T.NoOpTransform()
        height, width = image.shape[:2]
        return T.VFlipTransform(height) if self.vertical else T.HFlipTransform(width)


@AUGMENTATION_REGISTRY.register()
class ResizeShortestEdge(ClipAugmentation):
    """Resize by a random short side, by the rule of :func:`shortest_edge_size`."""

    def __init__(
        self,
        short_edge_lengths: int | Sequence[int],
        max_size: int = 0,
        mask_sampling: MaskSampling = "center",
    ):
        """
        Args:
            short_edge_lengths: one is chosen a clip; in pixels. 0 as the only one: no resizing.
            max_size: limit of the long side, in pixels; 0 means none.
            mask_sampling: see :class:`ClipResizeTransform`.
        """
        if isinstance(short_edge_lengths, int):
            short_edge_lengths = (short_edge_lengths,)
        if not short_edge_lengths or min(*short_edge_lengths, max_size) < 0:
            raise ValueError("give at least one short edge; lengths are not negative")
        if mask_sampling not in ("center", "corner"):
            raise ValueError(f"mask_sampling is '{mask_sampling}': choose center or corner")
        self.short_edge_lengths = tuple(short_edge_lengths)
        self.max_size = max_size
        self.mask_sampling: MaskSampling = mask_sampling

    def get_transform(self, image: np.ndarray, rng: np.random.Generator) -> Transform:
        height, width = image.shape[:2]
        short_edge = int(rng.choice(self.short_edge_lengths))
        if short_edge == 0:
            return T.NoOpTransform()
        new_size = shortest_edge_size(height, width, short_edge, self.max_size)
        return ClipResizeTransform(height, width, *new_size, self.mask_sampling)


@AUGMENTATION_REGISTRY.register()
class RandomShortEdge(ResizeShortestEdge):
    """Resize by a short side of ``min_size`` to ``max_size`` pixels, both included.

    This is the usual scale jitter of video clips.
    """

    def __init__(self, min_size: int, max_size: int):
        if not 0 < min_size <= max_size:
            raise ValueError(f"0 < min_size <= max_size does not hold: {min_size}, {max_size}")
        super().__init__(range(min_size, max_size + 1))


@AUGMENTATION_REGISTRY.register()
class RandomCrop(ClipAugmentation):
    """Crop a square of ``size`` pixels a side at a random place, the same in every frame."""

    def __init__(self, size: int):
        if size < 1:
            raise ValueError(f"size {size} is below 1")
        self.size = size

    def get_transform(self, image: np.ndarray, rng: np.random.Generator) -> Transform:
        y, x = (int(rng.integers(free, endpoint=True)) for free in _free_space(image, self.size))
        return T.CropTransform(x, y, self.size, self.size, image.shape[1], image.shape[0])


@AUGMENTATION_REGISTRY.register()
class SpacedCrop(T.Augmentation):
    """One of several squares, evenly spread over the longer side and central on the other."""

    def __init__(self, size: int, index: int = 0, count: int = 1):
        """
        Args:
            size: side of the square, in pixels.
            index: which, 0..count-1, from the left or the top on. A single one is the central one.
            count: how many there are.
        """
        assert size > 0
        assert 0 <= index < count
        self.size = size
        self.place = index / (count - 1) if count > 1 else 0.5

    def get_transform(self, image: np.ndarray) -> Transform:
        free_y, free_x = _free_space(image, self.size)
        y, x = round(free_y * 0.5), round(free_x * 0.5)
        if free_x >= free_y:
            x = round(free_x * self.place)
        else:
            y = round(free_y * self.place)
        return T.CropTransform(x, y, self.size, self.size, image.shape[1], image.shape[0])


def _free_space(image: np.ndarray, size: int) -> tuple[int, int]:
    """How far a square of a size can be moved in an image (H,W,C), down and to the right."""
    height, width = image.shape[:2]
    if min(height, width) < size:
        raise UserError(
            f"a crop of {size}x{size} pixels does not fit frames of {width}x{height}: resize to a "
            "short side of at least that before"
        )
    return height - size, width - size


@AUGMENTATION_REGISTRY.register()
class RandomSizeCrop(ClipAugmentation):
    """Crop a region of random size and place, the same in every frame (DETR, VisTR)."""

    def __init__(self, min_size: int, max_size: int):
        """
        Args:
            min_size, max_size: width and height are drawn independently from this range, ends
                included, in pixels; a side of the image that is smaller than ``min_size`` stays.
        """
        if not 0 < min_size <= max_size:
            raise ValueError(f"0 < min_size <= max_size does not hold: {min_size}, {max_size}")
        self._init(locals())

    def get_transform(self, image: np.ndarray, rng: np.random.Generator) -> Transform:
        height, width = image.shape[:2]
        w, h = (
            int(rng.integers(min(self.min_size, side), min(self.max_size, side), endpoint=True))
            for side in (width, height)
        )
        y = int(rng.integers(0, height - h, endpoint=True))
        x = int(rng.integers(0, width - w, endpoint=True))
        return T.CropTransform(x, y, w, h, width, height)


@AUGMENTATION_REGISTRY.register()
class LargeScaleJitter(ClipAugmentation):
    """Scale the clip at random, then crop or pad it to a fixed size, every frame alike.

    At factor 1 the frames just fit into the size, with their aspect ratio kept; the crop is at a random
    place, the padding at the right and below (G. Ghiasi et al.: Simple copy-paste is a strong data
    augmentation for instance segmentation, CVPR 2021, section 3; there 0.1 to 2.0). detectron2's
    ResizeScale and FixedSizeCrop do the same, but draw from numpy's global generator.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        min_scale: float = 0.1,
        max_scale: float = 2.0,
        pad_value: float = 128.0,
    ):
        """
        Args:
            size: of the result, a side of a square or [height, width], in pixels.
            min_scale, max_scale: range of the factor, above 0.
            pad_value: colour of the padding, 0 to 255, before later augmentations.
        """
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 1:
            raise ValueError(f"size {size} is below 1")
        if not 0 < min_scale <= max_scale:
            raise ValueError(f"0 < min_scale <= max_scale does not hold: {min_scale}, {max_scale}")
        if not 0 <= pad_value <= 255:
            raise ValueError(f"pad_value {pad_value} is not in 0..255")
        self.height, self.width = height, width
        self.min_scale, self.max_scale = min_scale, max_scale
        self.pad_value = pad_value

    def get_transform(self, image: np.ndarray, rng: np.random.Generator) -> Transform:
        height, width = image.shape[:2]
        scale = rng.uniform(self.min_scale, self.max_scale)
        scale *= min(self.height / height, self.width / width)
        h, w = max(round(height * scale), 1), max(round(width * scale), 1)
        y = int(rng.integers(max(h - self.height, 0), endpoint=True))
        x = int(rng.integers(max(w - self.width, 0), endpoint=True))
        shown_h, shown_w = min(h, self.height), min(w, self.width)
        below, right = self.height - shown_h, self.width - shown_w
        return T.TransformList(
            [
                ClipResizeTransform(height, width, h, w),
                T.CropTransform(x, y, shown_w, shown_h, w, h),
                T.PadTransform(0, 0, right, below, shown_w, shown_h, self.pad_value),
            ]
        )


@AUGMENTATION_REGISTRY.register()
class PhotometricDistort(ClipAugmentation):
    """Random brightness, contrast, saturation, hue and channel order (SSD's recipe).

    The official VisTR chain is ``per_frame=True, official=True``.
    """

    def __init__(
        self,
        brightness: float = 32.0,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: float = 18.0,
        swap_channels: bool = True,
        per_frame: bool = False,
        official: bool = False,
    ):
        """
        Args:
            brightness: greatest summand, of the 0..255 range.
            contrast, saturation: ranges of the factors.
            hue: greatest shift, in degrees.
            swap_channels: half of the time, put the colour channels in random order.
            per_frame: draw again for each frame, as the official code does (the clip flickers);
                otherwise all frames of a clip are distorted alike.
            official: let values outside 0..255 wrap around (260 becomes 4) and read the channels in
                the order blue, green, red, as the official code does; otherwise clip.
        """
        if brightness < 0 or not 0 <= hue <= 180:
            raise ValueError(f"brightness {brightness} or hue {hue} is out of range")
        if min(*contrast, *saturation) < 0 or len(contrast) != 2 or len(saturation) != 2:
            raise ValueError("contrast and saturation must be two factors that are not negative")
        self._init(locals())

    def get_transform(self, image: np.ndarray, rng: np.random.Generator) -> Transform:
        # A generator of its own: a transform that draws at every frame must not disturb the draws
        # of the augmentations that follow.
        child = np.random.default_rng(rng.integers(2**63))
        drawn = self._draw(child)
        return PhotometricTransform(
            (lambda: self._draw(child)) if self.per_frame else (lambda: drawn),
            per_frame=self.per_frame,
            official=self.official,
        )

    def _draw(self, rng: np.random.Generator) -> PhotometricDistortion:
        def half_the_time(low_high: tuple[float, float], neutral: float) -> float:
            value = rng.uniform(*low_high)
            return value if rng.random() < 0.5 else neutral

        brightness = half_the_time((-self.brightness, self.brightness), 0.0)
        contrast = half_the_time(self.contrast, 1.0)
        contrast_first = rng.random() < 0.5
        saturation = half_the_time(self.saturation, 1.0)
        hue = half_the_time((-self.hue, self.hue), 0.0)
        order = rng.permutation(3) if rng.random() < 0.5 else np.arange(3)
        order = order if self.swap_channels else np.arange(3)
        return PhotometricDistortion(
            brightness, contrast, contrast_first, saturation, hue, tuple(order.tolist())
        )


@AUGMENTATION_REGISTRY.register()
class RandomSelect(T.Augmentation):
    """Apply one of two lists of augmentations (DETR's recipe: resize, or crop on the way)."""

    def __init__(
        self,
        first: Sequence[Sequence[Any]],
        second: Sequence[Sequence[Any]] = (),
        prob: float = 0.5,
    ):
        """
        Args:
            first, second: specifications as those of :func:`build_augmentations`; an empty list
                changes nothing.
            prob: probability of the first list.
        """
        if not 0 <= prob <= 1:
            raise ValueError(f"prob {prob} is not in 0..1")
        self.first = T.AugmentationList(build_augmentations(first))
        self.second = T.AugmentationList(build_augmentations(second))
        self.prob = prob

    def __call__(self, aug_input: ClipAugInput) -> Transform:
        chosen = self.first if aug_input.rng.random() < self.prob else self.second
        return chosen(aug_input)

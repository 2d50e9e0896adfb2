"""From a record to a frame and the one or two before it, of which TrackFormer learns to track."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from fvcore.transforms.transform import Transform

from d2video.data import DATASET_MAPPER_REGISTRY, ClipDatasetMapper, ImageDatasetMapper
from d2video.data.augmentation import (
    ClipAugInput,
    ClipAugmentation,
    ClipResizeTransform,
    build_augmentations,
)
from d2video.data.frame_pixels import size_of
from d2video.data.frame_sequence import check_image_format, frame_to_tensor, read_frames
from d2video.data.mappers.clip import augment_frames, sample_seed
from d2video.data.mappers.image import frame_targets, image_objects
from d2video.data.records import Annotation, Record, object_classes
from d2video.utils.errors import UserError


class CropJitter(ClipAugmentation):
    """Crop a little and resize back to the old size: a small motion and change of scale."""

    def __init__(self, amount: float):
        """
        Args:
            amount: greatest part of the width that is cut off, 0 (nothing happens) to 1.
        """
        assert 0 <= amount < 1, amount
        self.amount = amount

    def get_transform(self, image: np.ndarray, rng: np.random.Generator) -> Transform:
        height, width = image.shape[:2]
        smallest = max(int((1 - self.amount) * width), 1)
        w = int(rng.integers(smallest, width, endpoint=True))
        h = max(height * w // width, 1)
        x = int(rng.integers(width - w, endpoint=True))
        y = int(rng.integers(height - h, endpoint=True))
        if (h, w) == (height, width):
            return T.NoOpTransform()
        crop = T.CropTransform(x, y, w, h, width, height)
        return T.TransformList([crop, ClipResizeTransform(h, w, height, width)])


@DATASET_MAPPER_REGISTRY.register()
class FramePairMapper:
    """Map a record to a frame with the frames before it (training), or to what is tested.

    In training the frame and its previous ones go through the same augmentations; then each
    previous one through a jitter of its own. "Previous" frames may lie after the frame as well. The
    previous frames of an image are the image itself.

    What is drawn (pair, augmentations, jitter) comes from three independent generators. In the
    official code one state serves all: flipped samples never have a previous frame that is later by
    3 or more.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        augmentations: Sequence[T.Augmentation | Transform],
        image_format: str = "RGB",
        with_masks: bool = False,
        fast_resize: bool = False,
        frame_range: int = 5,
        num_previous: int = 1,
        jitter: float = 0.01,
        image_jitter: float = 0.2,
        overflow_boxes: bool = False,
        other_frame: bool = False,
        with_earlier: bool = False,
    ):
        """
        Args:
            is_train: frames with targets, or whole videos (and images) without.
            augmentations, image_format, with_masks, fast_resize: see
                :class:`~d2video.data.ImageDatasetMapper`.
            frame_range: greatest distance of the previous frame, forwards or backwards, in frames.
            num_previous: 1, or 2: also the frame that is as far from the previous frame as that is
                from the frame, on the other side.
            jitter: of the previous frames of videos, see :class:`CropJitter`.
            image_jitter: and of those of images.
            overflow_boxes: boxes may reach beyond the image; else they are clipped. Those wholly
                outside are dropped either way.
            other_frame: the previous frame is never the frame itself (unless the video has one only).
            with_earlier: also give the objects of the frame before the earliest.

        Raises:
            UserError: another ``image_format``.
        """
        check_image_format(image_format)
        assert frame_range >= 0
        assert num_previous in (1, 2)
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.with_masks = with_masks
        self.fast_resize = fast_resize
        self.frame_range = frame_range
        self.num_previous = num_previous
        self.jitter = CropJitter(jitter)
        self.image_jitter = CropJitter(image_jitter)
        self.overflow_boxes = overflow_boxes
        self.other_frame = other_frame
        self.with_earlier = with_earlier
        if not is_train:
            self._test = ImageDatasetMapper(
                False, augmentations=augmentations, image_format=image_format
            )

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        arguments = ClipDatasetMapper.from_config(cfg, is_train=False)
        if not is_train:
            return arguments
        config = cfg.MODEL.TRACKFORMER
        if config.PREV_FRAME_RANGE < 0:
            raise UserError(
                f"MODEL.TRACKFORMER.PREV_FRAME_RANGE is {config.PREV_FRAME_RANGE}: give 0 or more"
            )
        for key in ("PREV_FRAME_JITTER", "PREV_IMAGE_JITTER"):
            if not 0 <= config[key] < 1:
                raise UserError(f"MODEL.TRACKFORMER.{key} is {config[key]}: give 0 to less than 1")
        return arguments | {
            "is_train": True,
            "augmentations": build_augmentations(cfg.INPUT.AUGMENTATIONS),
            "with_masks": cfg.MODEL.MASK_ON,
            "fast_resize": cfg.INPUT.FAST_RESIZE,
            "frame_range": config.PREV_FRAME_RANGE,
            "jitter": config.PREV_FRAME_JITTER,
            "image_jitter": config.PREV_IMAGE_JITTER,
            "overflow_boxes": config.OVERFLOW_BOXES,
            "other_frame": config.PREV_FRAME_OTHER,
            "with_earlier": config.TRACK_LINKS,
        }

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """
        Args:
            record: of a video or an image (docs/extend/architecture.md); not changed. In training
                ``key_frame`` chooses the frame of a video.

        Returns:
            In training ``image`` and ``instances`` as of :class:`~d2video.data.ImageDatasetMapper`,
            with ``gt_ids`` (int64; the numbers of the annotations if an image); ``previous``:
            ``num_previous`` dicts, nearest first, each with ``image``, ``instances`` and
            ``file_name``; ``file_name``, and ``height`` and ``width`` of the original. The last of
            ``previous`` has ``earlier``, if that is asked for: the ``instances`` of the frame before it,
            as many frames away as it is from the next one, or its own at the video's end. In testing
            what :class:`~d2video.data.ImageDatasetMapper` gives.

        Raises:
            BrokenFile, UserError: as these mappers do.
        """
        return self._pair(record) if self.is_train else self._test(record)

    def count_objects(self, record: Record) -> np.ndarray:
        """How many objects each frame of a video has, or an image, (length,) or (1,) int64."""
        if "length" not in record:
            return np.array([len(object_classes(record))])
        return np.array(
            [len(frame) for frame in _video_objects(record, [*range(record["length"])])]
        )

    def _pair(self, record: dict[str, Any]) -> dict[str, Any]:
        pair_rng, augmentation_rng, jitter_rng = map(np.random.default_rng, sample_seed().spawn(3))
        is_video = "length" in record
        if is_video:
            indices = self._frames(record["length"], record.get("key_frame"), pair_rng)
            names = [record["file_names"][t] for t in indices]
        else:
            names = [record["file_name"]] * (1 + self.num_previous)
        original = read_frames(names, record.get("height"), record.get("width"), self.image_format)
        size = size_of(original[0])
        if is_video:
            before = 2 * indices[-1] - indices[-2]
            before = before if 0 <= before < record["length"] else indices[-1]
            annotations = _video_objects(record, indices)
            [earlier] = _video_objects(record, [before]) if self.with_earlier else [[]]
        else:
            annotations = [image_objects(record, size)] * len(names)
            earlier = annotations[-1]

        frames, common = augment_frames(
            original, self.augmentations, augmentation_rng, fast_resize=self.fast_resize
        )
        jitter = self.jitter if is_video else self.image_jitter
        outputs = []
        for k, (name, frame, objects) in enumerate(zip(names, frames, annotations, strict=True)):
            transforms = common
            if k > 0:
                jittered = ClipAugInput(frame, jitter_rng, self.fast_resize)
                transforms = common + jitter(jittered)
                frame = jittered.image
            to_targets = partial(
                frame_targets,
                name,
                size=size,
                new_size=frame.shape[:2],
                transforms=transforms,
                clip_boxes=not self.overflow_boxes,
            )
            targets = to_targets(objects, with_masks=self.with_masks)
            image = frame_to_tensor(frame)
            outputs.append({"image": image, "instances": targets, "file_name": name})
        current, *previous = outputs
        if self.with_earlier:
            previous[-1]["earlier"] = to_targets(earlier, with_masks=False)
        return current | {"previous": previous, "height": size[0], "width": size[1]}

    def _frames(self, length: int, key_frame: int | None, rng: np.random.Generator) -> list[int]:
        """Numbers of the frame and of its previous ones."""
        if key_frame is None:
            key_frame = int(rng.integers(length))
        first = max(key_frame - self.frame_range, 0)
        last = min(key_frame + self.frame_range, length - 1)
        if self.other_frame and first < last:
            previous = int(rng.integers(first, last))  # numbers without the frame's own
            previous += previous >= key_frame
        else:
            previous = int(rng.integers(first, last, endpoint=True))
        before = min(max(2 * previous - key_frame, 0), length - 1)
        return [key_frame, previous, before][: 1 + self.num_previous]


def _video_objects(record: Record, indices: list[int]) -> list[list[Annotation]]:
    """Annotations of the objects of some frames, without crowds."""
    if "annotations" not in record:
        raise UserError(
            f"video {record['video_id']} has no labels: training needs an annotated split in "
            "DATASETS.TRAIN"
        )
    return [[a for a in record["annotations"][t] if not a.get("iscrowd", 0)] for t in indices]

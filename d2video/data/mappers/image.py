"""From an image's record to what a model takes: an augmented image with targets, or a resized one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from detectron2.structures import Instances
from fvcore.transforms.transform import Transform

from d2video.data.augmentation import configured_augmentations
from d2video.data.clip_instances import clip_instances
from d2video.data.frame_pixels import size_of
from d2video.data.frame_sequence import (
    check_image_format,
    frame_to_tensor,
    read_frames,
    read_label_image,
)
from d2video.data.mappers.clip import (
    DATASET_MAPPER_REGISTRY,
    ClipDatasetMapper,
    augment_frames,
    sample_seed,
)
from d2video.data.records import Annotation, ImageRecord, Record, object_classes
from d2video.formats.panoptic_png import check_segments, segment_annotations, segment_ids
from d2video.utils.errors import UserError


@DATASET_MAPPER_REGISTRY.register()
class ImageDatasetMapper:
    """Map the record of an image, with the labels of objects or panoptic ones, to a model's input.

    In testing it takes videos too, for models that follow objects.

    To the augmentations an image is a clip of one frame. Random draws are seeded as those of
    :class:`~d2video.data.mappers.clip.ClipDatasetMapper`.
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
    ):
        """
        Args:
            is_train: True: with targets; False: the image only.
            augmentations: applied in order. For testing, deterministic.
            image_format: order of the channels, "RGB" or "BGR".
            with_masks: targets have masks.
            fast_resize: of training images, see :func:`~d2video.data.frame_pixels.transformed`.
        """
        check_image_format(image_format)
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.with_masks = with_masks
        self.fast_resize = fast_resize and is_train
        if not is_train:
            self._test_video = ClipDatasetMapper(
                False, augmentations=augmentations, image_format=image_format
            )

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        return {
            "is_train": is_train,
            "augmentations": configured_augmentations(cfg, is_train),
            "image_format": cfg.INPUT.FORMAT,
            "with_masks": cfg.MODEL.MASK_ON,
            "fast_resize": cfg.INPUT.FAST_RESIZE,
        }

    def __call__(self, record: ImageRecord) -> dict[str, Any]:
        """
        Args:
            record: of an image, or, in testing, a video (docs/extend/architecture.md); not changed.

        Returns:
            ``image`` (uint8 tensor (3,h,w)), ``file_name``, ``image_id``, ``height`` and ``width``
            (of the original), and in training ``instances``: Instances with ``gt_boxes`` (XYXY,
            pixels, inside the image, with area), ``gt_classes`` (int64) and, with masks,
            ``gt_masks`` (BitMasks, none empty). Crowds are left out. Of a video what
            :class:`~d2video.data.ClipDatasetMapper` gives.

        Raises:
            BrokenFile: the image or the label image cannot be read or has another size than the
                record says, or a mask is damaged.
            UserError: a mask is missing, or, in training, the record is a video's or there are no
                labels.
        """
        self.check_records([record])
        if "file_names" in record:
            return self._test_video(record)
        name = record["file_name"]
        stated = record.get("height"), record.get("width")
        [image] = read_frames([name], *stated, self.image_format)
        size = size_of(image)
        rng = np.random.default_rng(sample_seed())
        [augmented], transforms = augment_frames(
            [image], self.augmentations, rng, fast_resize=self.fast_resize
        )
        output = {
            "image": frame_to_tensor(augmented),
            "file_name": name,
            "image_id": record["image_id"],
            "height": size[0],
            "width": size[1],
        }
        if self.is_train:
            targets = frame_targets(
                name,
                image_objects(record, size),
                size,
                augmented.shape[:2],
                transforms,
                with_masks=self.with_masks,
            )
            targets.remove("gt_ids")
            output["instances"] = targets
        return output

    def check_records(self, records: Sequence[Record]) -> None:
        """Raise a UserError if one is not an image's, in training."""
        if self.is_train and any("image_id" not in record for record in records):
            raise UserError(
                "INPUT.DATASET_MAPPER ImageDatasetMapper trains on images, and this dataset holds "
                "videos: choose ClipDatasetMapper"
            )

    def count_objects(self, record: ImageRecord) -> np.ndarray:
        """How many objects or segments the image has, (1,) int64."""
        return np.array([len(object_classes(record))])


def frame_targets(
    name: str,
    objects: list[Annotation],
    size: tuple[int, int],
    new_size: tuple[int, int],
    transforms: Transform,
    *,
    with_masks: bool,
    clip_boxes: bool = True,
) -> Instances:
    """The targets of one frame or image ``name``, see :func:`clip_instances`."""
    classes = {a["id"]: a["category_id"] for a in objects}
    options = {"with_masks": with_masks, "clip_boxes": clip_boxes}
    try:
        (targets,) = clip_instances([objects], classes, size, new_size, transforms, **options)
    except UserError as error:
        raise type(error)(f"image {name}: {error}") from error
    return targets


def image_objects(record: Record, size: tuple[int, int]) -> list[Annotation]:
    """Annotations of the objects or panoptic segments of an image of this size, without crowds.

    Their place in the list is their ``id``, so that the image can be handled as a frame of a video.

    Raises:
        BrokenFile: the label image cannot be read, has another size or lacks a segment.
        UserError: there are no labels.
    """
    annotations: Any
    # Only things' objects would be trained on if a record has both.
    if "segments_info" in record:
        path, segments = record["pan_seg_file_name"], record["segments_info"]
        labels = segment_ids(read_label_image(path, record["file_name"], *size))
        check_segments(labels, [segment["id"] for segment in segments], path)
        annotations = segment_annotations(labels, segments)
    elif "annotations" in record:
        annotations = record["annotations"]
    else:
        raise UserError(
            f"image {record['file_name']} has no labels: training needs an annotated split in "
            "DATASETS.TRAIN"
        )
    kept: list[Any] = [a for a in annotations if not a.get("iscrowd", 0)]
    return [annotation | {"id": i} for i, annotation in enumerate(kept)]

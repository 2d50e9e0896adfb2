"""From a video's record to what a model takes: an augmented clip, or lazily read frames."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from fvcore.common.registry import Registry
from fvcore.transforms.transform import Transform

from d2video.data.augmentation import ClipAugInput, configured_augmentations
from d2video.data.clip_instances import clip_instances
from d2video.data.clip_sampling import build_clip_sampler
from d2video.data.frame_pixels import steps_of, transformed
from d2video.data.frame_sequence import (
    FrameSequence,
    check_image_format,
    frame_to_tensor,
    read_frames,
)
from d2video.data.records import Record, VideoRecord, track_classes
from d2video.utils.errors import UserError
from d2video.video.image_io import Pixels

DATASET_MAPPER_REGISTRY = Registry("DATASET_MAPPER")
DATASET_MAPPER_REGISTRY.__doc__ = """Dataset mappers by name, chosen by INPUT.DATASET_MAPPER.

Called as ``mapper(cfg, is_train)`` to build, then on one record at a time; formats in
docs/extend/architecture.md. In training a record may carry ``key_frame``, the frame that the clip is
sampled around; otherwise the mapper chooses. ``batch_number`` tells which batch a sample is for. A
class with ``needs_labels = False`` is trained on records without labels. One whose samples hold
objects has ``count_objects(record)``: how many, at most, the sample of each key frame has (an image:
one number)."""


# What tracking data add to a video's record, and the evaluator and the tracker need.
_TRACKING_KEYS = ("sequence", "public_detections")


def sample_seed() -> np.random.SeedSequence:
    """The seed of all draws of one sample.

    It is drawn from numpy's global state, which the training loader seeds for each sample
    (:mod:`d2video.data.sample_stream`): a mapper has no state of its own.
    """
    return np.random.SeedSequence(np.random.randint(2**31, size=4).tolist())


def augment_frames(
    frames: Sequence[Pixels],
    augmentations: T.AugmentationList,
    rng: np.random.Generator,
    *,
    fast_resize: bool = False,
) -> tuple[list[np.ndarray], T.TransformList]:
    """Draw the augmentations on the first frame, uint8 (H,W,3), and apply them to all.

    Args:
        fast_resize: see :func:`~d2video.data.frame_pixels.transformed`.

    Returns:
        The augmented frames, and the transforms. An array that occurs twice is transformed once,
        unless a transform draws again for every frame.
    """
    transforms = augmentations(ClipAugInput(frames[0], rng, fast_resize))
    if any(getattr(step, "per_frame", False) for step in steps_of(transforms)):
        return [transformed(frame, transforms, fast_resize) for frame in frames], transforms
    done: dict[int, np.ndarray] = {}
    for frame in frames:
        if id(frame) not in done:
            done[id(frame)] = transformed(frame, transforms, fast_resize)
    return [done[id(frame)] for frame in frames], transforms


@DATASET_MAPPER_REGISTRY.register()
class ClipDatasetMapper:
    """Map a video's record to one augmented clip (training) or to all its frames (testing).

    Random draws come from a generator of each sample's own, see :func:`sample_seed`.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        sampler: Any = None,
        augmentations: Sequence[T.Augmentation | Transform],
        image_format: str = "RGB",
        official_targets: bool = False,
        fast_resize: bool = False,
    ):
        """
        Args:
            is_train: clips with targets, or whole videos.
            sampler: chooses the frames of a training clip, see clip_sampling.py.
            augmentations: applied in order. For testing, deterministic and given any first frame.
            image_format: order of the channels, "RGB" or "BGR".
            official_targets: see :func:`~d2video.data.clip_instances.clip_instances`.
            fast_resize: of training frames, see :func:`~d2video.data.frame_pixels.transformed`.
        """
        check_image_format(image_format)
        assert sampler is not None or not is_train
        self.is_train = is_train
        self.sampler = sampler
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.official_targets = official_targets
        self.fast_resize = fast_resize

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        common = {
            "is_train": is_train,
            "augmentations": configured_augmentations(cfg, is_train),
            "image_format": cfg.INPUT.FORMAT,
        }
        if not is_train:
            return common
        return common | {
            "sampler": build_clip_sampler(cfg),
            "official_targets": cfg.INPUT.CLIP.OFFICIAL_TARGETS,
            "fast_resize": cfg.INPUT.FAST_RESIZE,
        }

    def __call__(self, record: VideoRecord) -> dict[str, Any]:
        """
        Args:
            record: a video's record (docs/extend/architecture.md); not changed.

        Raises:
            BrokenFile: a frame cannot be read or has another size than the record says, or a mask
                is damaged.
            UserError: a mask is missing, the record is an image's, or, in training, there are no
                labels.
        """
        self.check_records([record])
        keys = ("video_id", "height", "width", "length")
        output = {key: value for key, value in record.items() if key in keys}
        rng = np.random.default_rng(sample_seed())
        fill = self._clip if self.is_train else self._video
        return output | fill(record, rng)

    def check_records(self, records: Sequence[Record]) -> None:
        """Raise a UserError if one is not a video's."""
        if any("file_names" not in record for record in records):
            raise UserError(
                "INPUT.DATASET_MAPPER ClipDatasetMapper takes videos, and this dataset holds "
                "images: choose ImageDatasetMapper"
            )

    def count_objects(self, record: VideoRecord) -> np.ndarray:
        """How many objects a clip around each frame has at most, (length,) int64."""
        length, annotations = record["length"], record["annotations"]
        row = {track: i for i, track in enumerate(track_classes(annotations))}
        if self.official_targets:
            return np.full(length, len(row))
        present = np.zeros((length, len(row)), bool)
        for t, frame in enumerate(annotations):
            present[t, [row[a["id"]] for a in frame if a["id"] in row]] = True
        reaches = [self.sampler.reach(length, key_frame) for key_frame in range(length)]
        return np.array([present[reach].any(0).sum() for reach in reaches])

    def _video(self, record: VideoRecord, rng: np.random.Generator) -> dict[str, Any]:
        # Only the size of the first frame matters, and the record knows it.
        blank = np.zeros((record["height"], record["width"], 3), np.uint8)
        frames = FrameSequence(
            record["file_names"],
            record["height"],
            record["width"],
            self.augmentations(ClipAugInput(blank, rng)),
            image_format=self.image_format,
        )
        extra = {key: value for key, value in record.items() if key in _TRACKING_KEYS}
        return extra | {"image": frames, "file_names": record["file_names"]}

    def _clip(self, record: VideoRecord, rng: np.random.Generator) -> dict[str, Any]:
        if "annotations" not in record:
            raise UserError(
                f"video {record['video_id']} has no labels: training needs an annotated split "
                "in DATASETS.TRAIN"
            )
        length, size = record["length"], (record["height"], record["width"])
        key_frame = record.get("key_frame")
        if key_frame is None:
            key_frame = int(rng.integers(length))
        indices = self.sampler(length, key_frame, rng)

        names = [record["file_names"][t] for t in indices]
        frames, transforms = augment_frames(
            read_frames(names, *size, self.image_format),
            self.augmentations,
            rng,
            fast_resize=self.fast_resize,
        )
        # Short videos repeat frames, whose tensors and masks are made once.
        tensors = {id(frame): frame_to_tensor(frame) for frame in frames}
        distinct = list(dict.fromkeys(indices))
        position = {frame: k for k, frame in enumerate(distinct)}
        annotations = [record["annotations"][t] for t in distinct]
        # The official code keeps a row for every object of the video, seen in the clip or not.
        source = record["annotations"] if self.official_targets else annotations
        try:
            instances = clip_instances(
                annotations,
                track_classes(source),
                size,
                (frames[0].shape[0], frames[0].shape[1]),
                transforms,
                official=self.official_targets,
            )
        except UserError as error:
            raise type(error)(f"video {record['video_id']}: {error}") from error
        return {
            "image": [tensors[id(frame)] for frame in frames],
            "instances": [instances[position[t]] for t in indices],
            "file_names": names,
            "frame_indices": indices,
        }

"""From the record of a video file and its class to what a classifier takes: a clip, or views.

Shapes: T frames of a clip; h, w after the augmentations.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from fvcore.transforms.transform import Transform
from torch import Tensor

from d2video.data.augmentation import ClipAugInput, SpacedCrop, configured_augmentations
from d2video.data.classification_sampling import evaluation_frames, training_frames
from d2video.data.frame_sequence import (
    VideoFrameSequence,
    check_image_format,
    frame_to_tensor,
    in_format,
)
from d2video.data.mappers.clip import DATASET_MAPPER_REGISTRY, augment_frames, sample_seed
from d2video.data.records import ClassificationRecord
from d2video.utils.errors import UserError
from d2video.video.image_io import Pixels
from d2video.video.video_file import VideoFile

# For testing, a view of more frames is a lazy sequence.
MOST_DECODED_FRAMES = 512


@DATASET_MAPPER_REGISTRY.register()
class VideoClipMapper:
    """Map a video of classification to one augmented clip (training) or to its views (testing).

    Only the frames of the clips are decoded. Augmentations are drawn once a clip and work on uint8.
    Random draws are seeded as those of :class:`~d2video.data.mappers.clip.ClipDatasetMapper`.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        num_frames: int,
        seconds: float,
        augmentations: Sequence[T.Augmentation | Transform],
        num_views: int = 1,
        num_crops: int = 1,
        crop_size: int = 0,
        frame_index: str = "absolute",
        frame_order: str = "forward",
        image_format: str = "RGB",
        fast_resize: bool = False,
    ):
        """
        Args:
            is_train: random clips, or the views of the evaluation.
            num_frames: in a clip; for testing 0 means every frame.
            seconds: length of a clip; 0: the whole video.
            augmentations: applied in order. For testing deterministic, and before the crops.
            num_views: for testing, clips in time.
            num_crops: for testing, square crops along the longer side of each clip.
            crop_size: side of these in pixels, 0: none.
            frame_index: "absolute" numbers in the video, or from the beginning of the "clip".
            frame_order: "forward", or "shuffled": pictures change places and the numbers stay (for
                testing alike in every run).
            image_format: order of the channels, "RGB" or "BGR".
            fast_resize: of training frames, see :func:`~d2video.data.frame_pixels.transformed`.

        Raises:
            UserError: a value is out of range.
        """
        check_image_format(image_format)
        wrong = {
            f"NUM_FRAMES is {num_frames}: give at least {int(is_train)}": num_frames < is_train,
            "the length in seconds must not be negative": seconds < 0,
            "NUM_VIEWS must be at least 1": num_views < 1,
            f"FRAME_INDEX is '{frame_index}': choose absolute or clip": frame_index
            not in ("absolute", "clip"),
            f"FRAME_ORDER is '{frame_order}': choose forward or shuffled": frame_order
            not in ("forward", "shuffled"),
            f"NUM_CROPS is {num_crops} and CROP_SIZE_TEST {crop_size}: give at least 1, and crops need "
            "a size": num_crops < 1 or crop_size < 0 or (num_crops > 1 and not crop_size),
        }
        for message, is_wrong in wrong.items():
            if is_wrong:
                raise UserError(f"INPUT.CLASSIFICATION: {message}")
        self.is_train = is_train
        self.num_frames = num_frames
        self.seconds = seconds
        self.augmentations = T.AugmentationList(augmentations)
        crops = [SpacedCrop(crop_size, k, num_crops) for k in range(num_crops) if crop_size]
        self.crops: list[SpacedCrop | None] = [*crops] or [None]
        self.num_views = num_views
        self.frame_index = frame_index
        self.frame_order = frame_order
        self.image_format = image_format
        self.fast_resize = fast_resize

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        video = cfg.INPUT.CLASSIFICATION
        common = {
            "is_train": is_train,
            "frame_index": video.FRAME_INDEX,
            "frame_order": (not is_train and video.FRAME_ORDER_TEST) or video.FRAME_ORDER,
            "augmentations": configured_augmentations(cfg, is_train),
            "image_format": cfg.INPUT.FORMAT,
        }
        if is_train:
            return common | {
                "num_frames": video.NUM_FRAMES,
                "seconds": video.CLIP_SECONDS,
                "fast_resize": cfg.INPUT.FAST_RESIZE,
            }
        return common | {
            "num_frames": video.NUM_FRAMES_TEST,
            "seconds": video.TEST_SECONDS,
            "num_views": video.NUM_VIEWS,
            "num_crops": video.NUM_CROPS,
            "crop_size": video.CROP_SIZE_TEST,
        }

    @classmethod
    def held_out_cfg(cls, cfg: CfgNode, records: Sequence[ClassificationRecord]) -> CfgNode:
        """See :func:`~d2video.data.held_out_samples.held_out_cfg`: the clips of a batch have one size."""
        if size := cfg.INPUT.CLASSIFICATION.CROP_SIZE_TEST:
            cfg.INPUT.AUGMENTATIONS = [*cfg.INPUT.AUGMENTATIONS, ["SpacedCrop", {"size": size}]]
        return cfg

    def __call__(self, record: ClassificationRecord) -> dict[str, Any]:
        """
        Args:
            record: of a video of classification (docs/extend/architecture.md); not changed.

        Returns:
            ``file_name``, ``video_id``, ``label`` where known, and in training ``image`` (uint8
            (T,3,h,w)) and ``frame_index`` (int64 (T,)), for testing ``views``: a list of dicts with
            these two, crops of one clip side by side. The ``image`` of a long view is a
            :class:`VideoFrameSequence`. A repeated frame keeps its number.

        Raises:
            BrokenFile: the video cannot be read.
            UserError: the record is another dataset's, has no label in training, or a crop is
                larger than the frames.
        """
        if "file_name" not in record or "video_id" not in record:
            raise UserError(
                "INPUT.DATASET_MAPPER VideoClipMapper takes video files with classes, and this "
                "dataset holds something else: choose another mapper or dataset"
            )
        if self.is_train and "label" not in record:
            raise UserError(
                f"video {record['file_name']} has no label: training needs a labelled split in "
                "DATASETS.TRAIN"
            )
        keys = ("file_name", "video_id", "label")
        output = {key: value for key, value in record.items() if key in keys}
        with VideoFile(record["file_name"]) as video:
            return output | (self._clip(video) if self.is_train else self._views(video, record))

    def _clip(self, video: VideoFile) -> dict[str, Any]:
        rng = np.random.default_rng(sample_seed())
        wanted = training_frames(video.num_frames, video.fps, self.seconds, self.num_frames, rng)
        pictures, index = self._read(video, wanted)
        frames, _ = augment_frames(pictures, self.augmentations, rng, fast_resize=self.fast_resize)
        return self._finish(frames, index, rng)

    def _views(self, video: VideoFile, record: ClassificationRecord) -> dict[str, Any]:
        clips = evaluation_frames(
            video.num_frames, video.fps, self.seconds, self.num_frames, self.num_views
        )
        rng = np.random.default_rng(record["video_id"])
        if len(clips[0]) > MOST_DECODED_FRAMES:
            return {"views": self._lazy_views(video, clips)}
        # Clips may overlap, and crops do: every frame is decoded and resized once.
        pictures, index = self._read(video, np.concatenate(clips))
        frames, _ = augment_frames(pictures, self.augmentations, rng)
        views = []
        for k, clip in enumerate(clips):
            part = slice(k * len(clip), (k + 1) * len(clip))
            order = rng.bit_generator.state  # all crops of a clip are shuffled alike
            for crop in self.crops:
                rng.bit_generator.state = order
                cropped = frames[part]
                if crop is not None:
                    transform = crop.get_transform(frames[0])
                    cropped = [transform.apply_image(frame) for frame in cropped]
                views.append(self._finish(cropped, index[part], rng))
        return {"views": views}

    def _lazy_views(self, video: VideoFile, clips: list[np.ndarray]) -> list[dict[str, Any]]:
        if self.frame_order != "forward":
            raise UserError(
                "INPUT.CLASSIFICATION.FRAME_ORDER shuffled needs clips that are decoded at once: set "
                f"NUM_FRAMES_TEST to {MOST_DECODED_FRAMES} or less"
            )
        blank = ClipAugInput(np.zeros((*video.size, 3), np.uint8), np.random.default_rng(0))
        resize = self.augmentations(blank)
        times = video.shown_times(np.concatenate(clips) / video.fps)
        numbers = np.rint(times * video.fps).astype(np.int64)  # as of frames that are read at once
        views = []
        for clip, index in zip(clips, np.split(numbers, len(clips)), strict=True):
            if self.frame_index == "clip":
                index = index - index[0]
            for crop in self.crops:
                crops = [] if crop is None else [crop.get_transform(blank.blank)]
                frames = VideoFrameSequence(
                    video.path,
                    clip / video.fps,
                    T.TransformList([*resize.transforms, *crops]),
                    image_format=self.image_format,
                )
                views.append({"image": frames, "frame_index": torch.from_numpy(index)})
        return views

    def _read(self, video: VideoFile, wanted: np.ndarray) -> tuple[list[Pixels], np.ndarray]:
        """Frames by their numbers, and the numbers of those that were found in their places."""
        timed = video.read_frames_at(wanted / video.fps)
        # By the time that it is really shown: headers may be wrong and rates vary.
        index = np.array([round(frame.time * video.fps) for frame in timed], dtype=np.int64)
        images = {id(frame.image): in_format(frame.image, self.image_format) for frame in timed}
        return [images[id(frame.image)] for frame in timed], index

    def _finish(
        self, frames: Sequence[np.ndarray], index: np.ndarray, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        if self.frame_index == "clip":
            index = index - index[0]
        if self.frame_order == "shuffled":
            frames = [frames[k] for k in rng.permutation(len(frames))]
        image = torch.stack([frame_to_tensor(frame) for frame in frames])
        return {"image": image, "frame_index": torch.from_numpy(index.copy())}

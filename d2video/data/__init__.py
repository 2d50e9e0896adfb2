"""Datasets of videos and images, clip sampling and augmentation, data loaders.

Importing this package registers the built-in datasets.
"""

from d2video.data.augmentation import AUGMENTATION_REGISTRY, ClipAugInput, build_augmentations
from d2video.data.build import build_test_loader, build_train_loader
from d2video.data.clip_sampling import (
    CLIP_SAMPLER_REGISTRY,
    RandomRangeSampler,
    WindowSampler,
    build_clip_sampler,
)
from d2video.data.datasets import (  # noqa: F401  registers datasets and formats
    builtin,
    coco_tracks,
    label_sets,
)
from d2video.data.datasets.by_path import register_path
from d2video.data.datasets.image_folder import register_image_folder, register_image_pairs
from d2video.data.datasets.video_classification import (
    register_kinetics,
    register_video_folders,
    register_video_list,
)
from d2video.data.datasets.ytvis import load_ytvis_json, register_ytvis_instances
from d2video.data.frame_sequence import FrameSequence
from d2video.data.mappers.build import build_mapper
from d2video.data.mappers.classification import VideoClipMapper
from d2video.data.mappers.clip import DATASET_MAPPER_REGISTRY, ClipDatasetMapper
from d2video.data.mappers.image import ImageDatasetMapper

__all__ = [
    "AUGMENTATION_REGISTRY",
    "CLIP_SAMPLER_REGISTRY",
    "DATASET_MAPPER_REGISTRY",
    "ClipAugInput",
    "ClipDatasetMapper",
    "FrameSequence",
    "ImageDatasetMapper",
    "RandomRangeSampler",
    "VideoClipMapper",
    "WindowSampler",
    "build_augmentations",
    "build_clip_sampler",
    "build_mapper",
    "build_test_loader",
    "build_train_loader",
    "load_ytvis_json",
    "register_image_folder",
    "register_image_pairs",
    "register_kinetics",
    "register_path",
    "register_video_folders",
    "register_video_list",
    "register_ytvis_instances",
]

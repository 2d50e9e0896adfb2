"""Datasets of videos and images, clip sampling and augmentation, data loaders.

Importing this package registers the built-in datasets.
"""

from .augmentation import AUGMENTATION_REGISTRY, ClipAugInput, build_augmentations
from .build import build_mapper, build_test_loader, build_train_loader
from .clip_mapper import DATASET_MAPPER_REGISTRY, ClipDatasetMapper
from .clip_sampling import (
    CLIP_SAMPLER_REGISTRY,
    RandomRangeSampler,
    WindowSampler,
    build_clip_sampler,
)
from .datasets import (  # noqa: F401  registers the datasets
    builtin,
    builtin_mot,
    builtin_restoration,
    builtin_video_classification,
)
from .datasets.image_folder import register_image_folder, register_image_pairs
from .datasets.video_classification import (
    register_kinetics,
    register_video_folders,
    register_video_list,
)
from .datasets.ytvis import load_ytvis_json, register_ytvis_instances
from .frame_sequence import FrameSequence
from .image_mapper import ImageDatasetMapper
from .video_clip_mapper import VideoClipMapper

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
    "register_video_folders",
    "register_video_list",
    "register_ytvis_instances",
]

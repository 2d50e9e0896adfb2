"""Frames from and to video files, image files and cameras."""

from d2video.video.frame_source import Frame, FrameSource
from d2video.video.image_io import IMAGE_SUFFIXES, list_images, read_image_size, read_rgb
from d2video.video.image_writer import ImageFileWriter, ImageFolderWriter
from d2video.video.pictures import read_picture
from d2video.video.prefetch import prefetch
from d2video.video.video_file import VideoFile
from d2video.video.video_reader import open_video
from d2video.video.video_writer import VideoWriter

__all__ = [
    "IMAGE_SUFFIXES",
    "Frame",
    "FrameSource",
    "ImageFileWriter",
    "ImageFolderWriter",
    "VideoFile",
    "VideoWriter",
    "list_images",
    "open_video",
    "prefetch",
    "read_image_size",
    "read_picture",
    "read_rgb",
]

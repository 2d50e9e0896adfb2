"""Inference: frames in, answers, pictures and results files out."""

from d2video.inference.annotation import annotate
from d2video.inference.loading import load
from d2video.inference.predictor import Predictor, VideoPredictor
from d2video.inference.sources import Images, Source, Videos, open_source
from d2video.inference.tasks import VideoFrame
from d2video.visualization.options import DrawingOptions

__all__ = [
    "DrawingOptions",
    "Images",
    "Predictor",
    "Source",
    "VideoFrame",
    "VideoPredictor",
    "Videos",
    "annotate",
    "load",
    "open_source",
]

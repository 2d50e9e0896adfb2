"""What ``d2video benchmark`` measures of a VisTR: a clip to its answer, in three steps."""

from detectron2.config import CfgNode
from detectron2.data.transforms import ResizeTransform
from PIL import Image
from torch import nn

from d2video.data import FrameSequence
from d2video.inference.benchmark import BENCHMARK_REGISTRY, Row, Setting
from d2video.utils.measuring import Run


def small_masks(cfg: CfgNode, model: nn.Module, setting: Setting) -> Run:
    """One clip to instances of the network's input size."""
    frames = setting.frames(cfg.INPUT.CLIP.NUM_FRAMES)
    return lambda: list(model.stream_video(iter(frames), setting.size))  # type: ignore[operator]


def answer(cfg: CfgNode, model: nn.Module, setting: Setting) -> Run:
    """One clip to the answer that an evaluator takes."""
    frames = setting.frames(cfg.INPUT.CLIP.NUM_FRAMES)
    height, width = setting.video_size
    return lambda: model([{"image": frames, "height": height, "width": width}])


def decode_and_answer(cfg: CfgNode, model: nn.Module, setting: Setting) -> Run:
    """One clip of JPEG files, read as a test mapper reads them, to the answer."""
    height, width = setting.video_size
    paths = [str(setting.folder / f"{t}.jpg") for t in range(cfg.INPUT.CLIP.NUM_FRAMES)]
    for path, frame in zip(paths, setting.frames(len(paths))):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).resize((width, height)).save(path)
    frames = FrameSequence(
        paths,
        height,
        width,
        ResizeTransform(height, width, *setting.size),
        image_format=cfg.INPUT.FORMAT,
    )
    return lambda: model([{"image": frames, "height": height, "width": width}])


def clip_rows(cfg: CfgNode) -> dict[str, Row]:
    """The rows, by name; each takes INPUT.CLIP.NUM_FRAMES frames."""
    num_frames = cfg.INPUT.CLIP.NUM_FRAMES
    return {
        "masks at network size": Row(small_masks, num_frames),
        "masks at video size as RLE": Row(answer, num_frames),
        "with JPEG decoding as well": Row(decode_and_answer, num_frames),
    }


BENCHMARK_REGISTRY["VisTR"] = clip_rows

"""What ``benchmarks.model`` measures: a row of its table each."""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from d2video.projects.trackformer.network.frame_output import Candidates
from d2video.projects.trackformer.tracker.tracker import Tracker
from d2video.projects.trackformer.tracker.tracks import Tracks
from detectron2.config import CfgNode
from detectron2.data.transforms import ResizeTransform
from detectron2.modeling import build_model
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from d2video.config import load_cfg
from d2video.data import FrameSequence
from d2video.projects import register_all
from d2video.utils.measuring import Run, measure


def random_frames(count: int, size: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
        for _ in range(count)
    ]


def small_masks(cfg: CfgNode, model: nn.Module, args: argparse.Namespace, folder: Path) -> Run:
    """One clip to instances of the network's input size."""
    frames = random_frames(cfg.INPUT.CLIP.NUM_FRAMES, args.size)
    return lambda: list(model.stream_video(iter(frames), tuple(args.size)))  # type: ignore[operator]


def answer(cfg: CfgNode, model: nn.Module, args: argparse.Namespace, folder: Path) -> Run:
    """One clip to the answer that an evaluator takes."""
    frames = random_frames(cfg.INPUT.CLIP.NUM_FRAMES, args.size)
    height, width = args.video_size
    return lambda: model([{"image": frames, "height": height, "width": width}])


def decode_and_answer(
    cfg: CfgNode, model: nn.Module, args: argparse.Namespace, folder: Path
) -> Run:
    """One clip of JPEG files, read as a test mapper reads them, to the answer."""
    height, width = args.video_size
    paths = [str(folder / f"{t}.jpg") for t in range(cfg.INPUT.CLIP.NUM_FRAMES)]
    for path, frame in zip(paths, random_frames(len(paths), args.size)):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).resize((width, height)).save(path)
    frames = FrameSequence(
        paths,
        height,
        width,
        ResizeTransform(height, width, *args.size),
        image_format=cfg.INPUT.FORMAT,
    )
    return lambda: model([{"image": frames, "height": height, "width": width}])


def tracking_step(
    cfg: CfgNode, model: nn.Module, args: argparse.Namespace, folder: Path, num_tracks: int
) -> Run:
    """One frame of a video to its answer, while ``num_tracks`` tracks live; none ends or starts."""
    stream = model.new_stream(tuple(args.video_size))  # type: ignore[operator]
    stream.tracker = Tracker(
        detection_score_thresh=1.0,
        track_score_thresh=0.0,
        detection_nms_thresh=0.0,
        track_nms_thresh=0.0,
        tracked_classes=None,
    )
    corner = torch.rand(num_tracks, 2) * 300
    candidates = Candidates(
        torch.ones(num_tracks),
        torch.zeros(num_tracks, dtype=torch.int64),
        torch.cat([corner, corner + 50], dim=1),
        torch.randn(num_tracks, cfg.MODEL.TRACKFORMER.HIDDEN_DIM, device=cfg.MODEL.DEVICE),
    )
    stream.tracker.active = Tracks.start(candidates, torch.arange(num_tracks), 0)
    frames = random_frames(2, args.size)
    stream.step(frames[0])  # now there is a previous frame

    def step() -> None:
        assert len(stream.step(frames[1])) == num_tracks

    return step


def matmul_floor(run: Run, device: torch.device) -> dict[str, float]:
    """What the matrix products and convolutions of ``run`` would take if nothing else did, at the
    speed at which the device multiplies large float32 matrices."""
    size = 2048
    a, b = torch.rand(2, size, size, device=device)
    rate = 2 * size**3 / measure(lambda: a @ b, device, warmup=2, repeats=7)["min_s"]
    with FlopCounterMode(display=False) as counter:
        run()
    flops = counter.get_total_flops()
    return {"gflop": flops / 1e9, "matmul_gflops": rate / 1e9, "floor_s": flops / rate}


def rows_of(cfg: CfgNode) -> dict[str, Callable[..., Run]]:
    """The rows of a model by their names."""
    if cfg.MODEL.META_ARCHITECTURE == "TrackFormer":
        return {
            f"step with {n} tracks": partial(tracking_step, num_tracks=n) for n in (0, 20, 60, 100)
        }
    return {
        "masks at network size": small_masks,
        "masks at video size as RLE": answer,
        "with JPEG decoding as well": decode_and_answer,
    }


@torch.no_grad()
def measure_row(args: argparse.Namespace, name: str) -> dict[str, float]:
    """Build the model and measure one row of the table in this process."""
    register_all()
    cfg = load_cfg(args.config_file, args.opts)
    torch.manual_seed(0)
    # FlopCounterMode asks for the gradient of module inputs that are views of parameters; under
    # no_grad such views require one but have none.
    model = build_model(cfg).eval().requires_grad_(False)
    device = torch.device(cfg.MODEL.DEVICE)
    with tempfile.TemporaryDirectory() as folder:
        run = rows_of(cfg)[name](cfg, model, args, Path(folder))
        figures = measure(run, device, warmup=1, repeats=args.repeats)
        if cfg.MODEL.META_ARCHITECTURE == "TrackFormer":
            figures |= matmul_floor(run, device)
        return figures

#!/usr/bin/env python3
"""Measure a video model: inference latency and memory, training step; table and JSON.

Random weights and frames: neither changes the cost of the model, but all slots must be kept, so the
score threshold is set to 0. Medians after warm-up. Memory is the peak of the process on a CPU (with
everything that Python and torch hold) and the peak of allocated tensors on a GPU.

Example: tools/benchmark.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml --size 300 540
"""

import argparse
import io
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import detectron2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from PIL import Image
from torch import Tensor, nn

from d2video.engine import build_optimizer, check_device, load_cfg
from d2video.projects import register_all
from d2video.utils.errors import exit_on_user_error
from d2video.utils.files import replace_on_success


def measure(run: Callable[[], object], device: torch.device, warmup: int, repeats: int) -> dict:
    """Median and spread of the wall time in seconds, and the peak memory so far in GB."""

    def once() -> float:
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    for _ in range(warmup):
        once()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    times = [once() for _ in range(repeats)]
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 1e9
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {
        "median_s": statistics.median(times),
        "min_s": min(times),
        "max_s": max(times),
        "peak_gb": peak,
    }


def random_frames(count: int, size: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
        for _ in range(count)
    ]


def jpeg(frame: Tensor, size: tuple[int, int]) -> bytes:
    image = Image.fromarray(frame.permute(1, 2, 0).numpy()).resize(size[::-1])
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


def training_clip(frames: list[Tensor], num_instances: int, num_classes: int) -> dict:
    height, width = frames[0].shape[-2:]
    instances = Instances((height, width))
    instances.gt_boxes = Boxes(torch.tensor([[0.0, 0.0, width / 2, height / 2]] * num_instances))
    instances.gt_classes = torch.arange(num_instances) % num_classes
    instances.gt_ids = torch.arange(num_instances)
    masks = torch.zeros(num_instances, height, width, dtype=torch.bool)
    masks[:, : height // 2, : width // 2] = True
    instances.gt_masks = BitMasks(masks)
    return {"image": frames, "instances": [instances] * len(frames)}


def inference(cfg: CfgNode, model: nn.Module, args: argparse.Namespace) -> dict[str, dict]:
    """Latency of one clip: the model alone, with post-processing, with decoding as well."""
    model.eval()
    model.score_threshold = 0.0  # type: ignore[assignment]
    frames = random_frames(cfg.INPUT.CLIP.NUM_FRAMES, args.size)
    height, width = args.video_size
    files = [jpeg(frame, args.video_size) for frame in frames]

    def decode() -> list[Tensor]:
        # What the test mapper does: decode, resize with Pillow, to a tensor.
        images = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
        resized = [image.resize(args.size[::-1], Image.Resampling.BILINEAR) for image in images]
        return [torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in resized]

    def answer(clip: list[Tensor]) -> object:
        return model([{"image": clip, "height": height, "width": width}])

    device = torch.device(cfg.MODEL.DEVICE)
    runs: dict[str, Callable[[], object]] = {
        "model alone": lambda: model.predict_clip(frames),  # type: ignore[operator]
        "with masks at video size as RLE": lambda: answer(frames),
        "with JPEG decoding as well": lambda: answer(decode()),
    }
    with torch.no_grad():
        return {name: measure(run, device, args.warmup, args.repeats) for name, run in runs.items()}


def training(cfg: CfgNode, model: nn.Module, args: argparse.Namespace) -> dict[str, dict]:
    """A training step of one clip: forward, backward, optimizer."""
    model.train()
    optimizer = build_optimizer(cfg, model)
    frames = random_frames(cfg.INPUT.CLIP.NUM_FRAMES, args.size)
    clip = training_clip(frames, args.instances, cfg.MODEL.VISTR.NUM_CLASSES)

    def step() -> None:
        with EventStorage():
            losses = model([clip])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()

    device = torch.device(cfg.MODEL.DEVICE)
    return {"training step": measure(step, device, args.warmup, args.repeats)}


def environment(device: torch.device) -> dict[str, str | int]:
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "none"
    cpu = next(
        (line.split(":")[1].strip() for line in _cpu_info() if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "torch": torch.__version__,
        "detectron2": detectron2.__version__,
        "python": platform.python_version(),
    }


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--task", choices=["inference", "training"], default="inference")
    parser.add_argument("--size", type=int, nargs=2, default=[300, 540], metavar=("H", "W"))
    parser.add_argument("--video-size", type=int, nargs=2, default=[720, 1280], metavar=("H", "W"))
    parser.add_argument("--instances", type=int, default=5, help="objects in the training clip")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="config keys to change")
    args = parser.parse_args(argv)
    args.size, args.video_size = tuple(args.size), tuple(args.video_size)

    register_all()
    cfg = load_cfg(args.config_file, args.opts)
    check_device(cfg.MODEL.DEVICE)
    torch.manual_seed(0)
    model = build_model(cfg)
    task = inference if args.task == "inference" else training
    results = task(cfg, model, args)

    num_frames = cfg.INPUT.CLIP.NUM_FRAMES
    about = environment(torch.device(cfg.MODEL.DEVICE))
    print(f"{args.config_file}, {num_frames} frames of {args.size[0]}x{args.size[1]}")
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(f"{'':34}{'median s':>10}{'min':>8}{'max':>8}{'frames/s':>10}{'peak GB':>9}")
    for name, figures in results.items():
        rate = num_frames / figures["median_s"]
        print(
            f"{name:34}{figures['median_s']:10.2f}{figures['min_s']:8.2f}{figures['max_s']:8.2f}"
            f"{rate:10.1f}{figures['peak_gb']:9.2f}"
        )
    if args.json:
        content = {
            "command": " ".join(sys.argv),
            "num_frames": num_frames,
            "size": args.size,
            "video_size": args.video_size,
            "environment": about,
            "results": results,
        }
        with replace_on_success(args.json) as partial:
            partial.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Toy in `make demo`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2video.video.video_writer import VideoWriter
from demo.recipe import Recipe, Run


@dataclass(frozen=True)
class ColourSpec:
    side: int = 32
    noise: float = 40.0


def write_colours(root: Path, splits: dict[str, int], spec: ColourSpec, overwrite=False) -> bool:
    rng = np.random.default_rng(0)
    for split, count in splits.items():
        for index in range(count):
            channel = index % 3
            path = root / split / ("red", "green", "blue")[channel] / f"{index:04d}.mp4"
            with VideoWriter(path, fps=8) as writer:
                for _ in range(4):
                    frame = rng.normal(100, spec.noise, (spec.side, spec.side, 3))
                    frame[..., channel] += 60
                    writer.write(frame.clip(0, 255).astype(np.uint8))
    return True


RECIPE = Recipe(
    runs=(
        Run(
            name="Toy",
            config_file=str(Path(__file__).parents[2] / "configs" / "Toy" / "toy.yaml"),
            task="classification",
            metrics={"top1": "clips whose class has the highest score"},
            class_metric="top1",
        ),
    ),
    write_data=write_colours,
    folder="toy",
    splits={"train": 24, "val": 6},
    spec=ColourSpec(),
    summary="Toy tells colours apart.",
    num_clips=2,
    spread=True,
)

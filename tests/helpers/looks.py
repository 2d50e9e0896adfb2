"""What ``d2video inspect`` looks at, of models that tests build."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import nn

from d2video.inference import Predictor, open_source
from d2video.inspection import Look, inspect
from d2video.report import Section


def random_frames(count: int, height: int, width: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def look_at(model: nn.Module, frames: list[np.ndarray], folder: Path, **options: Any) -> Look:
    """A look at frames in the size that they have."""
    predictor = Predictor(model=model, min_size=0, max_size=0)
    source = open_source(frames, takes_images=predictor.task.takes_images)
    return Look(predictor=predictor, source=source, folder=folder, **options)


def inspected(look: Look) -> dict[str, Section]:
    """The sections by title; their pictures are PNG files, and no others are written."""
    sections = {section.title: section for section in inspect(look)}
    files = [Path(media.file) for section in sections.values() for media in section.media]
    assert sorted(files) == sorted(look.folder.iterdir())
    for file in files:
        picture = cv2.imread(str(file))
        assert picture is not None, file
        assert picture.std() > 0, file
    return sections

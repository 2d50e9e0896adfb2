"""A YouTube-VIS dataset of a few small frames."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.ytvis_content import HEIGHT, LENGTH, WIDTH, content


@pytest.fixture
def ytvis_content() -> dict[str, Any]:
    return content()


@pytest.fixture
def image_root(tmp_path: Path) -> Path:
    """A folder with the frames of both videos, all different."""
    rng = np.random.default_rng(0)
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        for t in range(LENGTH):
            pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{t:05d}.png")
    return tmp_path

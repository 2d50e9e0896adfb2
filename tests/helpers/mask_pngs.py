"""Writers of masks as PNGs, as benchmarks have them, for round trips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.true_labels import HEIGHT, WIDTH, TrueVideo

# Of 256 colours, so that Pillow writes 8 bits; the first are those of DAVIS.
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, *range(9, 256), *range(256), *range(256)]


def label_values(video: TrueVideo, frame: int, value_of) -> np.ndarray:
    """uint16 (H,W); ``value_of`` gives the number of an object."""
    values = np.zeros((HEIGHT, WIDTH), np.uint16)
    for each in video.in_frame(frame):
        values[each.mask] = value_of(each)
    return values


def write_palette(values: np.ndarray, path: Path) -> None:
    """8-bit palette indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values.astype(np.uint8), "P")
    image.putpalette(PALETTE)
    image.save(path)


def write_grey(values: np.ndarray, path: Path) -> None:
    """Grey of 8 or 16 bits, by the type of the values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def of_classes(videos: list[TrueVideo], names: dict[str, str]) -> list[TrueVideo]:
    """The same videos, with other names of classes."""
    return [
        replace(v, objects=tuple(replace(o, category=names[o.category]) for o in v.objects))
        for v in videos
    ]


def of_one_class(videos: list[TrueVideo], category: str) -> list[TrueVideo]:
    """The same videos, with all objects of one class."""
    return of_classes(videos, {"dog": category, "cat": category})

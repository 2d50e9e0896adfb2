"""Sequences in the MOTChallenge's layout, and scores of results on them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (24, 32)  # height, width


def write_sequence(
    folder: Path,
    *,
    length: int = 6,
    size: tuple[int, int] = SIZE,
    gt: str | Iterable[str] | None = "",
    det: str | None = None,
    suffix: str = ".png",
) -> Path:
    """A folder of ``length`` images, each all of its frame's number, with labels as told."""
    (folder / "img1").mkdir(parents=True)
    for t in range(1, length + 1):
        pixels = np.full((*size, 3), t, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "img1" / f"{t:06d}{suffix}")
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={folder.name}\nimDir=img1\nframeRate=30\nseqLength={length}\n"
        f"imWidth={size[1]}\nimHeight={size[0]}\nimExt={suffix}\n"
    )
    for name, text in (("gt", gt), ("det", det)):
        if text is not None:
            (folder / name).mkdir()
            lines = text if isinstance(text, str) else "\n".join(text)
            (folder / name / f"{name}.txt").write_text(lines)
    return folder


def evaluate_results(results: Path, data: Path | str, **options: Any) -> None:
    """``d2video evaluate`` of a folder of results; ``options`` are those of the data's format.

    A test needs the fixture ``loggers_as_before``.
    """
    from d2video.cli.evaluate import main

    words = [word for key, value in options.items() for word in (key, repr(value))]
    main([str(results), "--data", str(data), "--opts", *words])

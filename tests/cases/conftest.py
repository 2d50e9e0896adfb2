"""Small files that once went wrong, below ``inputs/``, and the generated pictures that they refer to."""

from pathlib import Path

import pytest

INPUTS = Path(__file__).parent / "inputs"
_SIZE = ["--height", "64", "--width", "96"]
_SETS = {
    "shapes": ["--split", "train=6", "val=2", "--num-frames", "5", "5"],
    "shapes_mot": ["--format", "mot", "--split", "train=3", "val=2", "--num-frames", "6", "6"],
    "shapes_mots": ["--format", "mots", "--split", "train=2", "val=2", "--num-frames", "6", "6"],
    "shapes_coco": ["--format", "coco", "--split", "train=8", "val=4"],
}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder with the sets of ``_SETS``, the same bytes each time: nothing may write into it."""
    from d2video.cli.make_shapes import main

    root = tmp_path_factory.mktemp("cases")
    for name, options in _SETS.items():
        main([str(root / name), *options, *_SIZE])
    return root


@pytest.fixture
def inputs():
    """The folder of the files."""
    return INPUTS

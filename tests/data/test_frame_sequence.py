import pickle

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from PIL import Image

from d2video.data.frame_sequence import FrameSequence
from d2video.utils.errors import UserError
from d2video.video import frame_names


@pytest.fixture
def paths(tmp_path):
    rng = np.random.default_rng(0)
    for t in range(6):
        pixels = rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{t}.png")
    return [str(tmp_path / f"{t}.png") for t in range(6)]


def expected(path, order="RGB"):
    pixels = np.asarray(Image.open(path))[:, ::-1].transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(pixels if order == "RGB" else pixels[::-1]))


@pytest.mark.parametrize("decode_ahead", [0, 3])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_frames_by_index_and_in_order(paths, decode_ahead, order):
    frames = FrameSequence(
        paths, 8, 10, T.HFlipTransform(10), image_format=order, decode_ahead=decode_ahead
    )
    assert len(frames) == 6
    for _ in range(2):  # it can be read again
        for path, frame in zip(paths, frames, strict=True):
            assert torch.equal(frame, expected(path, order))
    assert torch.equal(frames[-1], expected(paths[5], order))
    assert frames[2].dtype == torch.uint8
    with pytest.raises(IndexError):
        frames[6]


def test_slices_stay_lazy(paths):
    frames = FrameSequence([*paths, "missing.png"], 8, 10, T.HFlipTransform(10))[4:]
    assert len(frames) == 3
    assert torch.equal(frames[1], expected(paths[5]))
    with pytest.raises(UserError, match=r"missing\.png does not exist"):
        frames[2]


def test_pickles_small_and_equal(paths):
    frames = FrameSequence(paths, 8, 10, T.HFlipTransform(10), decode_ahead=2)
    next(iter(frames))
    data = pickle.dumps(frames)
    assert len(data) < 2000
    assert torch.equal(pickle.loads(data)[3], frames[3])


def test_nothing_is_read_before_it_is_asked_for(paths, monkeypatch):
    read = []
    original = frame_names.open_rgb
    monkeypatch.setattr(frame_names, "open_rgb", lambda path: read.append(path) or original(path))
    frames = FrameSequence(paths, 8, 10, T.NoOpTransform(), decode_ahead=0)
    iterator = iter(frames)
    assert read == []
    next(iterator)
    assert read == paths[:1]
    frames[4]
    assert read == [paths[0], paths[4]]


def test_error_while_reading_ahead_reaches_the_caller(paths):
    frames = FrameSequence([*paths[:2], "missing.png"], 8, 10, T.NoOpTransform(), decode_ahead=4)
    received = []
    with pytest.raises(UserError, match=r"missing\.png"):
        received.extend(frames)
    assert len(list(frames[:2])) == 2

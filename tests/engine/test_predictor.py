"""VideoPredictor: order, sizes, bounded memory, and construction from a config."""

import gc
import threading
import weakref

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog

from d2video.config import get_cfg
from d2video.data.augmentation import shortest_edge_size
from d2video.engine.predictor import VideoPredictor
from d2video.utils.errors import UserError
from d2video.utils.video_reader import open_video
from tests.stub_video_model import StubVideoModel


def moving_square(length: int, height: int = 48, width: int = 64):
    """White 8×8 square that moves one pixel a frame over black."""
    for t in range(length):
        image = np.zeros((height, width, 3), np.uint8)
        image[20:28, t % (width - 8) : t % (width - 8) + 8] = 255
        yield image


def make_predictor(model=None, **kwargs) -> VideoPredictor:
    arguments = {"min_size": 0, "max_size": 0} | kwargs
    return VideoPredictor(model=model or StubVideoModel(), **arguments)


@pytest.mark.parametrize("length", [1, 4, 7, 30])
def test_every_frame_gets_its_own_answer(length):
    frames = list(make_predictor()(moving_square(length)))
    assert [frame.index for frame in frames] == list(range(length))
    for frame, image in zip(frames, moving_square(length), strict=True):
        np.testing.assert_array_equal(frame.image, image)
        # The stub finds the square of exactly this frame.
        mask = frame.instances.pred_masks[0].numpy()
        np.testing.assert_array_equal(mask, image[..., 0] == 255)
        assert frame.instances.image_size == image.shape[:2]
        assert frame.time == pytest.approx(frame.index / 25)


def test_frames_are_resized_like_test_data_and_answers_are_not():
    model = StubVideoModel()
    (frame,) = make_predictor(model, min_size=30, max_size=39)(moving_square(1, 50, 70))
    assert model.sizes == {(3, *shortest_edge_size(50, 70, 30, 39))} == {(3, 28, 39)}
    assert frame.image.shape == (50, 70, 3)
    assert frame.instances.image_size == (50, 70)


def test_channel_order():
    red = np.zeros((1, 8, 8, 3), np.uint8)
    red[..., 0] = 255
    for image_format, expected in [("RGB", [255, 0, 0]), ("BGR", [0, 0, 255])]:
        model = StubVideoModel()
        (frame,) = make_predictor(model, image_format=image_format)(red)
        assert model.first_pixels == [expected]
        np.testing.assert_array_equal(frame.image, red[0])  # stays RGB


def test_memory_does_not_grow_with_length():
    model = StubVideoModel(window=4)
    alive: set[int] = set()
    most_originals = 0

    def source():
        for index, image in enumerate(moving_square(200)):
            alive.add(index)
            weakref.finalize(image, alive.discard, index)
            yield image

    predictor = make_predictor(model, decode_ahead=3)
    count = 0
    for frame in predictor(source()):
        count += 1
        del frame
        gc.collect(0)
        most_originals = max(most_originals, len(alive))
    assert count == 200
    # A block, the frames read ahead, and a few on their way.
    assert model.most_alive <= 4 + 3 + 3
    assert most_originals <= 4 + 3 + 4


def test_stopping_early_ends_the_reading_thread():
    predictions = make_predictor()(moving_square(1000))
    for _ in range(5):
        next(predictions)
    predictions.close()
    assert not [t for t in threading.enumerate() if t.name == "d2video-prefetch"]


def test_autograd_is_off_in_the_model_only():
    model = StubVideoModel()
    for _ in make_predictor(model)(moving_square(6)):
        assert torch.is_grad_enabled()
    assert not model.grad_enabled


def test_faults_show_at_the_call(tmp_path):
    with pytest.raises(UserError, match=r"none\.mp4 does not exist"):
        make_predictor()(tmp_path / "none.mp4")
    with pytest.raises(UserError, match="Linear does not follow video"):
        make_predictor(torch.nn.Linear(1, 1))


def test_a_model_that_loses_frames_is_caught():
    class Lossy(StubVideoModel):
        def stream_video(self, frames, output_size):
            answers = super().stream_video(frames, output_size)
            next(answers)
            yield from answers

    # Answers would be paired with the wrong frames; better no result than that.
    with pytest.raises(AssertionError, match="1 frames without an answer"):
        list(make_predictor(Lossy())(moving_square(6)))


def test_from_config(tmp_path):
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE = "StubFromConfig"
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    cfg.INPUT.CLIP.NUM_FRAMES = 3
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 24, 100
    cfg.INPUT.FORMAT = "RGB"
    cfg.DATASETS.TEST = ("predictor_test",)
    MetadataCatalog.get("predictor_test").thing_classes = ["square"]
    torch.save({"model": {"weight": torch.tensor([3.0])}}, cfg.MODEL.WEIGHTS)
    try:
        predictor = VideoPredictor(cfg)
        assert predictor.class_names == ["square"]
        assert not predictor.model.training
        assert predictor.model.weight.item() == 3.0
        video = open_video(np.stack(list(moving_square(5))))
        assert len(list(predictor(video))) == 5
        assert predictor.model.sizes == {(3, 24, 32)}
    finally:
        MetadataCatalog.remove("predictor_test")

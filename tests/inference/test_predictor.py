"""Predictor: order, sizes, bounded memory, and construction from a config."""

import gc
import json
import threading
import weakref

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from PIL import Image

from d2video.config import get_cfg
from d2video.data.augmentation import shortest_edge_size
from d2video.data.datasets.ytvis import register_ytvis_instances
from d2video.inference.predictor import Predictor
from d2video.inference.tasks import RestorationTask
from d2video.utils.errors import UserError
from d2video.video.frame_source import Frame
from d2video.video.prefetch import THREAD_NAME
from d2video.video.video_reader import open_video
from tests.helpers.loopback import serve
from tests.helpers.stub_video_model import StubRestorer, StubTracker, StubVideoModel
from tests.helpers.tensors_alive import most_alive
from tests.helpers.ytvis_content import content


def moving_square(length: int, height: int = 48, width: int = 64):
    """White 8×8 square that moves one pixel a frame over black."""
    for t in range(length):
        image = np.zeros((height, width, 3), np.uint8)
        image[20:28, t % (width - 8) : t % (width - 8) + 8] = 255
        yield image


def make_predictor(model=None, **kwargs) -> Predictor:
    arguments = {"min_size": 0, "max_size": 0} | kwargs
    return Predictor(model=model or StubVideoModel(), **arguments)


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

    predictor = make_predictor(model)
    count = 0
    for frame in predictor(open_video(source(), prefetch=3)):
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
    assert not [t for t in threading.enumerate() if t.name.startswith(THREAD_NAME)]


def test_autograd_is_off_in_the_model_only():
    model = StubVideoModel()
    for _ in make_predictor(model)(moving_square(6)):
        assert torch.is_grad_enabled()
    assert not model.grad_enabled


def track_ids(frames) -> list[int]:
    return [frame.instances.track_ids.item() for frame in frames]


def jumping_square() -> list[np.ndarray]:
    """Eight frames; the square jumps between the fourth and the fifth."""
    frames = list(moving_square(30))
    return frames[:4] + frames[20:24]


def test_push_style_answers_as_a_whole_video():
    predictor = make_predictor(StubTracker(), min_size=24)
    whole = list(predictor(jumping_square()))
    pushed = [predictor.predict_frame(image) for image in jumping_square()]
    assert track_ids(whole) == track_ids(pushed) == [0] * 4 + [1] * 4
    assert [frame.index for frame in pushed] == list(range(8))
    predictor.reset()
    pictures = [Image.fromarray(image) for image in jumping_square()]
    assert track_ids([predictor.predict_frame(image) for image in pictures]) == track_ids(whole)
    for one, other in zip(whole, pushed, strict=True):
        assert one.image.tobytes() == other.image.tobytes()
        assert torch.equal(one.instances.pred_boxes.tensor, other.instances.pred_boxes.tensor)
    times = [frame.time for frame in pushed]
    assert times[0] == 0
    assert times == sorted(times)


def test_reset_begins_another_video():
    predictor = make_predictor(StubTracker())
    first, second = jumping_square()[3:5]
    assert track_ids([predictor.predict_frame(first), predictor.predict_frame(second)]) == [0, 1]
    predictor.reset()
    frame = predictor.predict_frame(second)
    assert (frame.index, frame.time, track_ids([frame])) == (0, 0, [0])
    predictor.reset()
    predictor.reset()
    assert predictor.predict_frame(second[:40]).index == 0  # another size


def test_pushed_video_goes_on_beside_others():
    predictor = make_predictor(StubTracker())
    frames = jumping_square()
    ids = []
    for image in frames:
        ids += track_ids([predictor.predict_frame(image)])
        assert track_ids(predictor(frames[::-1])) == [0] * 4 + [1] * 4
    assert ids == [0] * 4 + [1] * 4


def test_a_model_that_needs_later_frames_cannot_be_pushed():
    predictor = make_predictor(StubVideoModel(window=2))
    (image,) = moving_square(1)
    for _ in range(2):
        with pytest.raises(UserError, match="StubVideoModel answers a frame only after .* later"):
            predictor.predict_frame(image)
    assert len(list(predictor([image]))) == 1


def test_pushed_frames_are_checked_and_the_video_goes_on():
    predictor = make_predictor(StubTracker())
    first, *others = jumping_square()
    predictor.predict_frame(first)
    for wrong, message in [
        (first[:, :-1], "frame 1 is 63x48 pixels, the one before 64x48; call reset"),
        (first[..., 0], r"frame 1 has shape \(48, 64\)"),
        (first.astype(np.float32), "float32"),
        (None, "not an array"),
    ]:
        with pytest.raises(UserError, match=message):
            predictor.predict_frame(wrong)
    rest = [predictor.predict_frame(image) for image in others]
    assert track_ids(rest) == [0] * 3 + [1] * 4
    assert [frame.index for frame in rest] == list(range(1, 8))


def test_pushing_after_a_failure_begins_anew():
    class Failing(StubTracker):
        def stream_video(self, frames, output_size):
            for count, answer in enumerate(super().stream_video(frames, output_size)):
                if count == 2:
                    raise RuntimeError("out of memory")
                yield answer

    predictor = make_predictor(Failing())
    images = jumping_square()
    assert [predictor.predict_frame(image).index for image in images[:2]] == [0, 1]
    with pytest.raises(RuntimeError, match="out of memory"):
        predictor.predict_frame(images[2])
    assert predictor.predict_frame(images[3]).index == 0


def test_pushing_turns_autograd_off_and_keeps_no_frames():
    model = StubTracker()
    predictor = make_predictor(model)
    for image in moving_square(30):
        predictor.predict_frame(image)
        assert torch.is_grad_enabled()
    assert not model.grad_enabled
    assert model.most_alive <= 3


def test_grey_stays_grey():
    """A model's answers to grey frames are never quite grey."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    grey = colours[..., :1].repeat(3, 2)
    answer = torch.from_numpy(rng.normal(128, 99, (3, 12, 16)).astype(np.float32))

    class Tinting:
        task = RestorationTask()

        def stream_video(self, frames, output_size):
            for _ in frames:
                yield {"restored": answer.clone()}

    predictor = make_predictor(Tinting())
    first, second = predictor([colours, grey])
    whole = answer.clamp(0, 255).round().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(first.restored, whole)
    mean = answer.mean(0).clamp(0, 255).round()[..., None].expand(-1, -1, 3).numpy()
    np.testing.assert_array_equal(second.restored, mean)
    np.testing.assert_array_equal(predictor.predict_frame(grey).restored, mean)


def test_a_restored_picture_is_rounded_in_its_own_memory():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    frame = Frame(0, 0.0, image)
    answer = {"restored": torch.rand(3, 60, 80) * 300 - 20}
    expected = answer["restored"].clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
    found = []
    most = most_alive(
        lambda: found.append(RestorationTask().read(frame, answer).restored), 3 * 60 * 80
    )
    assert most == 1
    np.testing.assert_array_equal(found[0], expected)


def test_faults_show_at_the_call(tmp_path):
    with pytest.raises(UserError, match=r"none\.mp4 does not exist"):
        make_predictor()(tmp_path / "none.mp4")
    with pytest.raises(UserError, match="Linear cannot run on video"):
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


def stub_config(tmp_path):
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE = "StubFromConfig"
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    cfg.INPUT.CLIP.NUM_FRAMES = 3
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 24, 100
    cfg.INPUT.FORMAT = "RGB"
    cfg.DATASETS.TEST = ("predictor_test",)
    torch.save({"model": {"weight": torch.tensor([3.0])}}, cfg.MODEL.WEIGHTS)
    return cfg


def test_from_config(tmp_path):
    cfg = stub_config(tmp_path)
    MetadataCatalog.get("predictor_test").thing_classes = ["square"]
    try:
        predictor = Predictor(cfg)
        assert predictor.class_names == ["square"]
        assert not predictor.model.training
        assert predictor.model.weight.item() == 3.0
        video = open_video(np.stack(list(moving_square(5))))
        assert len(list(predictor(video))) == 5
        assert predictor.model.sizes == {(3, 24, 32)}
    finally:
        MetadataCatalog.remove("predictor_test")


def test_from_config_finds_names_that_the_data_tell(tmp_path, scratch_catalog):
    cfg = stub_config(tmp_path)
    path = tmp_path / "labels.json"
    register_ytvis_instances("predictor_test", {}, str(path), "")
    assert Predictor(cfg).class_names is None  # no data: the model runs all the same
    path.write_text(json.dumps(content()))
    assert Predictor(cfg).class_names == ["four", "nine"]
    MetadataCatalog.get("predictor_train").thing_classes = ["nine", "four"]
    cfg.DATASETS.TRAIN = ("predictor_train",)
    assert Predictor(cfg).class_names == ["nine", "four"]  # whose order the model has
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ()
    assert Predictor(cfg).class_names is None


def test_from_config_prefers_the_checkpoints_names(tmp_path, scratch_catalog):
    cfg = stub_config(tmp_path)
    torch.save(torch.load(cfg.MODEL.WEIGHTS) | {"class_names": ["cube", ""]}, cfg.MODEL.WEIGHTS)
    assert Predictor(cfg).class_names == ["cube"]
    MetadataCatalog.get("predictor_test").thing_classes = ["square"]
    assert Predictor(cfg).class_names == ["cube"]


def test_images_and_videos_by_path(tmp_path):
    """A folder is one video to a tracker; an image is itself, and any folder of an image model's."""
    sizes = {"1.png": (30, 40), "2.png": (30, 40), "10.png": (30, 40)}
    for name, size in sizes.items():
        Image.fromarray(np.full((*size, 3), 255, np.uint8)).save(tmp_path / name)
    tracker = make_predictor(StubVideoModel())
    assert [frame.file_name for frame in tracker(tmp_path)] == [None] * 3
    assert [frame.time for frame in tracker(tmp_path, fps=10)] == pytest.approx([0, 0.1, 0.2])
    for path in (tmp_path / "2.png", str(tmp_path / "2.png")):
        (frame,) = tracker(path)
        assert frame.file_name == "2.png"
    Image.new("RGB", (20, 20), "white").save(tmp_path / "3.png")  # of another size
    restorer = make_predictor(StubRestorer())
    frames = list(restorer(tmp_path))
    assert [frame.file_name for frame in frames] == ["1.png", "2.png", "3.png", "10.png"]
    (tmp_path / "10.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot read image .*10\.png"):
        list(restorer(tmp_path))
    assert len(list(restorer(tmp_path, on_broken="stop"))) == 3


def same_image(tmp_path) -> dict[str, object]:
    """One image in all forms that ``predict`` takes."""
    (array,) = moving_square(1)
    picture = Image.fromarray(array)
    picture.save(tmp_path / "a.png")
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6  # shown turned to the right
    opened = Image.open(tmp_path / "a.png")
    return {
        "array": array,
        "tensor": torch.from_numpy(array).permute(2, 0, 1),
        "tensor with channels last": torch.from_numpy(array),
        "PIL": picture,
        "PIL of a file": opened,
        "palette": picture.convert("P"),
        "grey": picture.convert("L"),
        "transparent": picture.convert("RGBA"),
        "turned": turned,
        "path": tmp_path / "a.png",
        "text": str(tmp_path / "a.png"),
        "file address": (tmp_path / "a.png").as_uri(),
    }


def test_predict_takes_an_image_in_any_form(tmp_path):
    predictor = make_predictor(min_size=24)
    (array,) = moving_square(1)
    (whole,) = predictor([array])
    for form, image in same_image(tmp_path).items():
        frame = predictor.predict(image)
        np.testing.assert_array_equal(frame.image, array, form)
        assert torch.equal(frame.instances.pred_masks, whole.instances.pred_masks), form
        has_name = "file" in form or form in ("path", "text")
        assert frame.file_name == ("a.png" if has_name else ""), form
    assert repr(predictor.predict(array)) == "VideoFrame image: 1 × class 0"
    assert predictor.predict(array).to_dict()["height"] == 48
    assert torch.is_grad_enabled()


def test_predict_leaves_videos_alone():
    predictor = make_predictor(StubTracker())
    ids = []
    for image in jumping_square():
        ids += track_ids([predictor.predict_frame(image)])
        assert track_ids([predictor.predict(image[:40])]) == [0]
    assert ids == [0] * 4 + [1] * 4


def test_predict_of_an_address(tmp_path):
    same_image(tmp_path)
    content = (tmp_path / "a.png").read_bytes()
    with serve({"/a.png": lambda page: page.send(content, "image/png")}) as host:
        frame = make_predictor().predict(f"http://{host}/a.png")
        with pytest.raises(UserError, match=r"/b\.png"):
            make_predictor().predict(f"http://{host}/b.png")
    assert (frame.file_name, frame.image.shape) == ("a.png", (48, 64, 3))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3)), r"float64; .*\(255 \* x\)\.astype"),
        (torch.zeros(3, 4, 4), "float32; expected"),
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\).*np.stack"),
        (np.zeros((4, 4, 4), np.uint8), r"without transparency x\[\.\.\., :3\]"),
        (np.zeros((3, 4, 5), np.uint8), "puts the channels last"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), "expected"),
        (None, "is of type NoneType, not an array"),
        ([1, 2], "is of type list, not an array"),
        ("none.jpg", "none.jpg does not exist"),
        ("tests/inference", "tests/inference"),
        (__file__, "cannot read image"),
    ],
)
def test_what_predict_refuses(image, message):
    with pytest.raises(UserError, match=message) as caught:
        make_predictor().predict(image)
    assert "\n" not in str(caught.value)

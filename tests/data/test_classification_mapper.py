"""VideoClipMapper and the loaders: clips, views, ablations, broken files, worker processes."""

import itertools
import logging

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.utils.env import seed_all_rng

from d2video.config import get_cfg
from d2video.data import (
    VideoClipMapper,
    build_test_loader,
    build_train_loader,
    register_video_folders,
)
from d2video.data.frame_sequence import VideoFrameSequence
from d2video.utils.errors import BrokenFile, UserError
from tests.video.test_video_reader import HEIGHT, LENGTH, WIDTH, write_mp4

MOST_DECODED = "d2video.data.mappers.classification.MOST_DECODED_FRAMES"


def make_frames():
    """(T,H,W,3) uint8: brightness tells the frame's number in every part of it."""
    level = (30 + 4 * np.arange(LENGTH)).astype(np.uint8)
    return np.broadcast_to(level[:, None, None, None], (LENGTH, HEIGHT, WIDTH, 3))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two classes of two videos."""
    root = tmp_path_factory.mktemp("videos")
    for name in ("a", "b"):
        (root / name).mkdir()
        for k in range(2):
            write_mp4(root / name / f"{k}.mp4", make_frames())
    return root


@pytest.fixture
def record(root):
    return {"file_name": str(root / "a/0.mp4"), "video_id": 1, "label": 0}


@pytest.fixture
def cfg(root, scratch_catalog):
    register_video_folders("tiny", str(root))
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ("tiny",)
    cfg.INPUT.DATASET_MAPPER = "VideoClipMapper"
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TEST = 40
    cfg.INPUT.CLASSIFICATION.NUM_FRAMES = 5
    cfg.INPUT.CLASSIFICATION.CLIP_SECONDS = 1.0
    cfg.INPUT.CLASSIFICATION.NUM_FRAMES_TEST = 6
    cfg.INPUT.CLASSIFICATION.CROP_SIZE_TEST = 32
    cfg.INPUT.AUGMENTATIONS = [
        ["RandomShortEdge", {"min_size": 36, "max_size": 44}],
        ["RandomCrop", {"size": 32}],
    ]
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.DATALOADER.NUM_WORKERS = 0
    return cfg


def shown(image):
    """Numbers of the frames that a clip (T,3,h,w) shows, by brightness."""
    return ((image.float().mean((1, 2, 3)) - 30) / 4).round().long().numpy()


def mapper(is_train, **changes):
    options = {"num_frames": 6, "seconds": 0.0, "augmentations": []} | changes
    return VideoClipMapper(is_train, **options)


def test_training_clip(record):
    seed_all_rng(1)
    starts = set()
    for _ in range(8):
        out = mapper(True, num_frames=5, seconds=1.0)(record)
        assert out.keys() == {"file_name", "video_id", "label", "image", "frame_index"}
        assert (out["image"].shape, out["image"].dtype) == ((5, 3, HEIGHT, WIDTH), torch.uint8)
        index = out["frame_index"]
        assert index.dtype == torch.int64
        assert (index - index[0]).tolist() == [0, 6, 12, 18, 24]
        assert shown(out["image"]).tolist() == index.tolist()
        starts.add(int(index[0]))
    assert len(starts) > 3


def test_views_in_time_and_space(record):
    map_test = mapper(False, seconds=1.0, num_views=2, num_crops=3, crop_size=HEIGHT)
    views = map_test(record)["views"]
    assert [v["frame_index"].tolist()[0] for v in views] == [0] * 3 + [25] * 3
    for view in views:
        assert view["image"].shape == (6, 3, HEIGHT, HEIGHT)
        assert shown(view["image"]).tolist() == view["frame_index"].tolist()


def test_crops_are_spread_over_the_longer_side(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (1, 6, 8, 3)).repeat(8, 1).repeat(8, 2)
    path = write_mp4(tmp_path / "a.mp4", image.astype(np.uint8))
    record = {"file_name": str(path), "video_id": 1}
    (whole,) = mapper(False, num_frames=1)(record)["views"]
    views = mapper(False, num_frames=1, num_crops=3, crop_size=40)(record)["views"]
    for view, x in zip(views, (0, 12, 24), strict=True):
        assert torch.equal(view["image"], whole["image"][:, :, 4:44, x : x + 40])


def test_repeated_frames_keep_their_number(record):
    (view,) = mapper(False, num_frames=100)(record)["views"]
    assert view["frame_index"].unique().tolist() == list(range(LENGTH))
    same = view["frame_index"][1:] == view["frame_index"][:-1]
    equal = (view["image"][1:] == view["image"][:-1]).flatten(1).all(1)
    assert torch.equal(same, equal)


def test_official_numbers_count_from_the_clip(record):
    views = mapper(False, seconds=1.0, num_views=2, frame_index="clip")(record)["views"]
    assert [v["frame_index"].tolist() for v in views] == [[0, 4, 9, 14, 19, 24]] * 2
    seed_all_rng(1)
    out = mapper(True, num_frames=5, seconds=1.0, frame_index="clip")(record)
    assert out["frame_index"].tolist() == [0, 6, 12, 18, 24]
    assert shown(out["image"])[0] > 0


def test_shuffled_pictures_and_one_frame(record):
    straight = mapper(False)(record)["views"][0]
    shuffle = mapper(False, frame_order="shuffled", num_crops=2, crop_size=HEIGHT)
    first, second = shuffle(record)["views"]
    assert torch.equal(first["frame_index"], straight["frame_index"])
    order = shown(first["image"])
    assert sorted(order) == sorted(shown(straight["image"]))
    assert list(order) != sorted(order)
    assert list(order) == list(shown(second["image"]))
    assert torch.equal(shuffle(record)["views"][0]["image"], first["image"])  # not random
    one = mapper(False, num_frames=1)(record)["views"][0]
    assert (one["image"].shape[0], one["frame_index"].tolist()) == (1, [24])


def test_orders_of_training_and_testing(cfg):
    def orders() -> list[str]:
        mappers = (VideoClipMapper(cfg, is_train) for is_train in (True, False))
        return [each.frame_order for each in mappers]

    node = cfg.INPUT.CLASSIFICATION
    assert orders() == ["forward", "forward"]
    node.FRAME_ORDER = "shuffled"
    assert orders() == ["shuffled", "shuffled"]
    node.FRAME_ORDER_TEST = "forward"
    assert orders() == ["shuffled", "forward"]
    node.FRAME_ORDER, node.FRAME_ORDER_TEST = "forward", "shuffled"
    assert orders() == ["forward", "shuffled"]


def test_long_views_are_lazy(record, monkeypatch):
    options = {"num_frames": 0, "num_crops": 2, "crop_size": 32}
    eager = mapper(False, **options)(record)["views"]
    monkeypatch.setattr(MOST_DECODED, LENGTH - 1)
    lazy = mapper(False, **options)(record)["views"]
    for a, b in zip(eager, lazy, strict=True):
        frames = b["image"]
        assert isinstance(frames, VideoFrameSequence)
        assert torch.equal(a["frame_index"], b["frame_index"])
        assert torch.equal(a["image"], torch.stack(list(frames)))
        assert torch.equal(a["image"][7:9], torch.stack(list(frames[7:9])))
        assert torch.equal(a["image"][-1], frames[-1])


def test_numbers_of_lazy_views_go_by_presentation_time(tmp_path, monkeypatch):
    """At a rate that varies, as those of views that are decoded at once: what is shown twice keeps
    its number."""
    times = np.cumsum(np.r_[0, np.full(10, 0.04), np.full(5, 0.4), np.full(10, 0.02)])
    path = write_mp4(tmp_path / "vfr.mp4", make_frames()[: len(times)], times=times)
    record = {"file_name": str(path), "video_id": 1}
    for frame_index in ("absolute", "clip"):
        options = {"num_frames": 0, "frame_index": frame_index, "num_views": 2, "seconds": 1.0}
        monkeypatch.setattr(MOST_DECODED, 512)
        eager = mapper(False, **options)(record)["views"]
        monkeypatch.setattr(MOST_DECODED, 3)
        lazy = mapper(False, **options)(record)["views"]
        assert isinstance(lazy[0]["image"], VideoFrameSequence)
        for a, b in zip(eager, lazy, strict=True):
            assert a["frame_index"].tolist() == b["frame_index"].tolist()
            assert len(set(a["frame_index"].tolist())) < len(a["frame_index"])
            assert torch.equal(a["image"], torch.stack(list(b["image"])))


def test_bgr(record):
    rgb, bgr = (mapper(False, image_format=f)(record)["views"][0]["image"] for f in ("RGB", "BGR"))
    assert torch.equal(rgb.flip(1), bgr)


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders(cfg, workers):
    cfg.DATALOADER.NUM_WORKERS = workers
    for unit in ("video", "frame"):
        cfg.INPUT.EPOCH_UNIT = unit
        assert build_train_loader(cfg).loader.epoch_length == 4
    batches = list(itertools.islice(build_train_loader(cfg), 4))
    assert [len(batch) for batch in batches] == [2] * 4
    samples = [sample for batch in batches for sample in batch]
    assert sorted(s["video_id"] for s in samples[:4]) == [1, 2, 3, 4]
    assert all(s["image"].shape == (5, 3, 32, 32) for s in samples)
    tested = [video for (video,) in build_test_loader(cfg, "tiny")]
    assert [(v["video_id"], v["label"]) for v in tested] == [(1, 0), (2, 0), (3, 1), (4, 1)]


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_files(cfg, root, tmp_path, caplog, workers):
    cfg.DATALOADER.NUM_WORKERS = workers
    (tmp_path / "a").mkdir()
    for k in range(2):
        (tmp_path / f"a/{k}.mp4").write_bytes((root / f"a/{k}.mp4").read_bytes())
    bad = tmp_path / "a/2.mp4"
    bad.write_bytes(b"\0" * 1000)
    register_video_folders("bad", str(tmp_path))
    cfg.DATASETS.TRAIN = ("bad",)
    with caplog.at_level(logging.WARNING, "d2video.data.bad_samples"):
        batches = list(itertools.islice(build_train_loader(cfg), 6))
    assert {s["video_id"] for batch in batches for s in batch} == {1, 2}
    if workers == 0:
        messages = [r.message for r in caplog.records if r.name == "d2video.data.bad_samples"]
        assert len(messages) == 1
        assert str(bad) in messages[0]
        assert messages[0].endswith("faults so far: 1")
    with pytest.raises(UserError, match=r"2\.mp4") as error:
        list(build_test_loader(cfg, "bad"))
    assert "\n" not in str(error.value)

    for k in range(2):
        (tmp_path / f"a/{k}.mp4").write_bytes(b"")
    cfg.DATALOADER.MAX_RETRIES = 3
    with pytest.raises(UserError, match="4 samples in a row"):
        next(iter(build_train_loader(cfg)))
    cfg.DATALOADER.MAX_RETRIES = 0
    with pytest.raises(BrokenFile, match="cannot read"):
        next(iter(build_train_loader(cfg)))


def test_crops_that_do_not_fit_are_the_users_mistake(cfg, record):
    cfg.INPUT.AUGMENTATIONS = [["RandomCrop", {"size": HEIGHT + 1}]]
    with pytest.raises(UserError, match="does not fit frames of 64x48") as error:
        VideoClipMapper(cfg, True)(record)
    assert not isinstance(error.value, BrokenFile)  # or training would try others for ever
    with pytest.raises(UserError, match="does not fit"):
        mapper(False, crop_size=HEIGHT + 1)(record)


@pytest.mark.parametrize(
    ("is_train", "changes", "message"),
    [
        (True, {"num_frames": 0}, "NUM_FRAMES is 0"),
        (False, {"num_frames": -1}, "NUM_FRAMES is -1"),
        (False, {"seconds": -1.0}, "seconds"),
        (False, {"num_views": 0}, "NUM_VIEWS"),
        (False, {"frame_index": "video"}, "FRAME_INDEX"),
        (False, {"num_crops": 3}, "CROP_SIZE_TEST"),
        (False, {"frame_order": "sorted"}, "FRAME_ORDER"),
        (False, {"image_format": "HSV"}, "INPUT.FORMAT"),
    ],
)
def test_wrong_values(is_train, changes, message):
    with pytest.raises(UserError, match=message):
        mapper(is_train, **changes)


def test_other_records_are_refused(cfg, record):
    with pytest.raises(UserError, match="something else"):
        mapper(True)({"file_names": ["a.jpg"], "video_id": 1})
    del record["label"]
    assert "label" not in mapper(False)(record)
    with pytest.raises(UserError, match="no label"):
        mapper(True)(record)
    DatasetCatalog.register("unlabelled", lambda: [record])
    cfg.DATASETS.TRAIN = ("unlabelled",)
    with pytest.raises(UserError, match="no labels"):
        build_train_loader(cfg)

"""Features extracted beforehand: files, the tool, data sets of them, and training on them."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
import yaml
from d2video.projects.vtn import FeatureMapper, feature_extraction, register_features
from d2video.projects.vtn import features as features_module
from d2video.projects.vtn.feature_files import (
    INDEX,
    read_features,
    write_features,
    write_index,
)
from d2video.projects.vtn.features import register_default_folders
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.data import build_mapper, build_test_loader, build_train_loader
from d2video.data.datasets.video_classification import register_video_folders
from d2video.engine import VideoTrainer
from d2video.synthetic.motion_videos import MOTION_CLASSES, MotionSpec, write_motion_videos
from d2video.utils.errors import UserError
from projects.VTN.tools import extract_features
from tests.projects.VTN.tiny import NODE, RESNET, SMALL, build, losses_of, tiny_cfg

CLASSES = MOTION_CLASSES[::4]
SPEC = MotionSpec(num_frames=(9, 11), height=32, width=40, classes=CLASSES)
INPUT = [
    *("INPUT.DATASET_MAPPER", "VideoClipMapper", "INPUT.FORMAT", "RGB"),
    *("INPUT.MIN_SIZE_TEST", 32, "INPUT.MAX_SIZE_TEST", 0),
    *("INPUT.CLASSIFICATION.CROP_SIZE_TEST", 32, "INPUT.CLASSIFICATION.TEST_SECONDS", 0.0),
    *("INPUT.CLASSIFICATION.NUM_FRAMES_TEST", 0, "INPUT.EPOCH_UNIT", "video"),
    *(f"{NODE}NUM_CLASSES", 2, "DATALOADER.NUM_WORKERS", 0),
]
NAME = "vtn_test_motion"


@pytest.fixture
def forget():
    """Data sets registered in a test are gone after it."""
    before = set(DatasetCatalog)
    yield
    for name in set(DatasetCatalog) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("motion")
    write_motion_videos(root, {"val": 4}, SPEC, progress=False)
    return root / "val"


@pytest.fixture
def setting(videos, tmp_path, forget, monkeypatch):
    """The model's config file and weights, a registered set, and where features go by default."""
    register_video_folders(NAME, str(videos))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    model = build("resnet", *INPUT, seed=5)
    torch.save({"model": model.state_dict()}, tmp_path / "weights.pth")
    config: dict = {"VERSION": 2}
    flat = [*SMALL, *RESNET, *INPUT, "MODEL.WEIGHTS", str(tmp_path / "weights.pth")]
    for key, value in zip(flat[::2], flat[1::2]):
        node = config
        *path, last = key.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return model, tmp_path


def extract(folder, *more):
    config = str(folder / "config.yaml")
    extract_features.main(["--config-file", config, "--dataset", NAME, *more])


def fails(folder, capsys, *more):
    with pytest.raises(SystemExit):
        extract(folder, *more)
    return capsys.readouterr().err


# ---- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_files(tmp_path, dtype):
    features, index = torch.randn(5, 3).to(dtype), 2 * torch.arange(5)
    write_features(tmp_path / "7.npz", features, index)
    again, numbers = read_features(tmp_path / "7.npz")
    assert torch.equal(again, features)
    assert again.dtype == dtype
    assert torch.equal(numbers, index)
    assert [path.name for path in tmp_path.iterdir()] == ["7.npz"]


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    def broken_off(path, **_):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", broken_off)
    with pytest.raises(KeyboardInterrupt):
        write_features(tmp_path / "7.npz", torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"PK\x03\x04 cut off",
        {"features": np.zeros((2, 3), np.float32)},
        {"features": np.zeros(3, np.float32), "frame_index": np.arange(3)},
        {"features": np.zeros((2, 3), np.float32), "frame_index": np.arange(3)},
        {"features": np.zeros((2, 3), np.int64), "frame_index": np.arange(2)},
        {"features": np.zeros((0, 3), np.float32), "frame_index": np.arange(0)},
        {"features": np.array([[None]], object), "frame_index": np.arange(1)},
    ],
)
def test_files_that_are_none(tmp_path, content):
    path = tmp_path / "7.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.savez(path, **content)
    with pytest.raises(UserError, match=r"7\.npz.*extract them again"):
        read_features(path)


@pytest.mark.parametrize(
    "content", [None, "", "[]", "[" * 100_000, '{"videos": [{"file": "1.npz"}]}']
)
def test_a_broken_list(tmp_path, forget, content):
    if content is not None:
        (tmp_path / INDEX).write_text(content)
    register_features("vtn_test_broken", tmp_path)
    with pytest.raises(UserError, match=r"features\.json: missing or damaged"):
        DatasetCatalog.get("vtn_test_broken")


def test_the_mapper_refuses_what_it_does_not_know(tmp_path):
    with pytest.raises(UserError, match="takes features"):
        FeatureMapper(False)({"file_name": "a.mp4", "video_id": 1})
    with pytest.raises(UserError, match="no label"):
        FeatureMapper(True)({"feature_file": str(tmp_path / "1.npz"), "video_id": 1})


# ---- the tool -----------------------------------------------------------------------------------


def test_extraction_answers_as_the_whole_model_does(setting, capsys):
    """The third way of inference, from files."""
    model, folder = setting
    extract(folder)
    assert "features of 4 videos" in capsys.readouterr().out
    register_default_folders()
    name = f"{NAME}_features"
    assert MetadataCatalog.get(name).evaluator_type == "video_classification"
    cfg = tiny_cfg("resnet", *INPUT)
    whole = {item["video_id"]: item for (item,) in build_test_loader(cfg, NAME)}
    cfg.INPUT.DATASET_MAPPER = "FeatureMapper"
    count = 0
    for (item,) in build_test_loader(cfg, name):
        expected = whole[item["video_id"]]
        assert item["label"] == expected["label"]
        assert torch.equal(item["frame_index"], expected["views"][0]["frame_index"])
        (answer,), (wanted,) = model([item]), model([expected])
        torch.testing.assert_close(answer["scores"], wanted["scores"], rtol=0, atol=1e-5)
        assert answer["video_id"] == wanted["video_id"]
        count += 1
    assert count == 4
    assert MetadataCatalog.get(name).thing_classes == MetadataCatalog.get(NAME).thing_classes


def test_extraction_goes_on_where_it_stopped(setting, capsys, monkeypatch):
    _, folder = setting
    made = []
    true_extract = feature_extraction._extract

    def interrupted(model, item):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(item["video_id"])
        return true_extract(model, item)

    monkeypatch.setattr(feature_extraction, "_extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(folder)
    monkeypatch.setattr(feature_extraction, "_extract", true_extract)
    out = features_module.default_folder(NAME)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.npz")}
    assert len(before) == 2
    extract(folder)
    assert "2 made, 2 kept" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert len(json.loads((out / INDEX).read_text())["videos"]) == 4


def test_extraction_does_not_mix_features(setting, capsys, videos):
    _, folder = setting
    extract(folder)
    assert "give another --output" in fails(folder, capsys, "--dtype", "float16")
    assert "give another --output" in fails(
        folder, capsys, "INPUT.CLASSIFICATION.NUM_FRAMES_TEST", "3"
    )
    other = build("resnet", *INPUT, seed=6).state_dict()
    torch.save({"model": other}, folder / "weights.pth")
    assert "another dataset, backbone" in fails(folder, capsys)
    extract(folder, "--output", str(folder / "half"), "--dtype", "float16")
    features, _ = read_features(next((folder / "half").glob("*.npz")))
    assert features.dtype == torch.float16


def test_extraction_after_the_videos_changed(setting, capsys, videos):
    """A new first video moves the numbers of all others, and nobody gets another's features."""
    model, folder = setting
    extract(folder)
    changed = folder / "changed" / "val"
    shutil.copytree(videos, changed)
    first = sorted(changed.rglob("*.mp4"))[0]
    last = sorted(changed.rglob("*.mp4"))[-1]
    shutil.copy(last, first.with_name("00000.mp4"))
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)
    register_video_folders(NAME, str(changed))
    extract(folder)
    register_default_folders()
    mapper = build_mapper(tiny_cfg("resnet", *INPUT), is_train=False)
    records = DatasetCatalog.get(NAME)
    stored = DatasetCatalog.get(f"{NAME}_features")
    assert [each["video_id"] for each in stored] == [each["video_id"] for each in records]
    for record, kept in zip(records, stored, strict=True):
        expected, _ = feature_extraction._extract(model, mapper(record))
        features, _ = read_features(kept["feature_file"])
        torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)


def test_features_of_a_file_that_was_replaced_are_made_anew(setting, capsys, videos):
    _, folder = setting
    changed = folder / "val"
    shutil.copytree(videos, changed)
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)
    register_video_folders(NAME, str(changed))
    extract(folder)
    first, *_, last = sorted(changed.rglob("*.mp4"))
    assert first.stat().st_size != last.stat().st_size
    shutil.copy(last, first)
    extract(folder)
    assert "1 made, 3 kept" in capsys.readouterr().out


def test_features_of_another_backbone(setting):
    """As with MODEL.WEIGHTS empty, when a random backbone would be saved with the encoder."""
    model, folder = setting
    extract(folder)
    register_default_folders()
    cfg = tiny_cfg("resnet", *INPUT, "INPUT.DATASET_MAPPER", "FeatureMapper")
    ((item,), *_) = build_test_loader(cfg, f"{NAME}_features")
    model([item])
    other = build("resnet", *INPUT, seed=6).eval()
    with pytest.raises(UserError, match=r"\.npz comes from another backbone.*MODEL\.WEIGHTS"):
        other([item])
    other.load_state_dict(model.state_dict())  # in place, after its fingerprint was taken
    other([item])


def test_an_extraction_that_was_broken_off_is_no_data_set(tmp_path, forget):
    write_index(tmp_path, [], [], {})
    register_features("vtn_test_unfinished", tmp_path)
    with pytest.raises(UserError, match="lists no video yet: run .* to its end"):
        DatasetCatalog.get("vtn_test_unfinished")


def test_extraction_leaves_out_videos_that_cannot_be_read(setting, capsys, tmp_path):
    _, folder = setting
    write_motion_videos(tmp_path / "broken", {"val": 2}, SPEC, progress=False)
    first = sorted((tmp_path / "broken").rglob("*.mp4"))[0]
    first.write_bytes(first.read_bytes()[:200])
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)
    register_video_folders(NAME, str(tmp_path / "broken" / "val"))
    extract(folder)
    assert "features of 1 videos" in capsys.readouterr().out


def test_mistakes_on_the_command_line(setting, capsys):
    _, folder = setting
    assert "MODEL.WEIGHTS is empty" in fails(folder, capsys, "MODEL.WEIGHTS", "")
    assert "not registered" in fails(folder, capsys, "--dataset", f"{NAME}s")
    assert "2 views" in fails(folder, capsys, "INPUT.CLASSIFICATION.NUM_VIEWS", "2")
    assert "of a VTN" in fails(folder, capsys, "MODEL.META_ARCHITECTURE", "DETR")
    state = setting[0].state_dict()
    head = {name: value for name, value in state.items() if name.startswith("head.")}
    torch.save({"model": head}, folder / "head.pth")
    fault = fails(folder, capsys, "MODEL.WEIGHTS", str(folder / "head.pth"))
    assert "parameters of the backbone are missing" in fault
    (folder / "strange").mkdir()
    (folder / "strange" / "1.npz").touch()
    assert "unknown origin" in fails(folder, capsys, "--output", str(folder / "strange"))
    extract(folder)  # runs that made nothing do not stand in the way
    assert "features of 4 videos" in capsys.readouterr().out


# ---- training -----------------------------------------------------------------------------------


@pytest.fixture
def separable(tmp_path, forget):
    """Features of two classes whose mean differs in one number."""
    generator = torch.Generator().manual_seed(0)
    videos = []
    for number in range(16):
        features = torch.randn(6 + number % 3, 64, generator=generator)
        features[:, 0] += 6 * (number % 2) - 3
        write_features(tmp_path / f"{number}.npz", features, torch.arange(len(features)))
        videos.append({"video_id": number + 1, "file": f"{number}.npz", "label": number % 2})
    write_index(tmp_path, videos, ["a", "b"], {})
    register_features("vtn_test_separable", tmp_path)
    return "vtn_test_separable"


def feature_cfg(name, output, *more):
    return tiny_cfg(
        "resnet",
        *("DATASETS.TRAIN", [name], "DATASETS.TEST", [name], "OUTPUT_DIR", str(output)),
        *("INPUT.DATASET_MAPPER", "FeatureMapper", "INPUT.EPOCH_UNIT", "video"),
        *("DATALOADER.NUM_WORKERS", 0, "DATALOADER.ASPECT_RATIO_GROUPING", False),
        *("DATALOADER.FILTER_EMPTY_ANNOTATIONS", False, "SEED", 1),
        *(f"{NODE}FREEZE_BACKBONE", True, f"{NODE}NUM_CLASSES", 2),
        *("SOLVER.IMS_PER_BATCH", 8, "SOLVER.BASE_LR", 3e-3, "SOLVER.WARMUP_ITERS", 0),
        *("SOLVER.OPTIMIZER", "ADAMW", "SOLVER.MAX_ITER", 40),
        *more,
    )


def test_the_temporal_encoder_learns_from_features(separable, tmp_path):
    """Through the shared trainer, loaders and evaluator."""
    torch.manual_seed(0)
    trainer = VideoTrainer(feature_cfg(separable, tmp_path / "out"))
    model = trainer.model
    before = {k: v.clone() for k, v in model.frame_encoder.state_dict().items()}
    trainer.train()
    assert trainer._last_eval_results["classification"]["top1"] == 100
    assert all(torch.equal(v, before[k]) for k, v in model.frame_encoder.state_dict().items())
    losses = [
        values["total_loss"]
        for line in (tmp_path / "out" / "metrics.json").read_text().splitlines()
        if "total_loss" in (values := json.loads(line))
    ]
    assert losses[-1] < 0.5 * math.log(2)


def test_features_need_a_frozen_backbone(separable, tmp_path):
    cfg = feature_cfg(separable, tmp_path, f"{NODE}FREEZE_BACKBONE", False)
    batch = next(iter(build_train_loader(cfg)))
    with pytest.raises(UserError, match=r"set MODEL\.VTN\.FREEZE_BACKBONE True"):
        losses_of(build("resnet", f"{NODE}NUM_CLASSES", 2).train(), batch)


def test_features_of_another_width(separable, tmp_path):
    cfg = feature_cfg(separable, tmp_path)
    item = build_mapper(cfg, False)(DatasetCatalog.get(separable)[0])
    for training in (False, True):
        model = build("vit", f"{NODE}FREEZE_BACKBONE", True).train(training)
        with pytest.raises(
            UserError, match=r"\.npz has shape \(6, 64\), but the backbone gives 32"
        ):
            losses_of(model, [item])

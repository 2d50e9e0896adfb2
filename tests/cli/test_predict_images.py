"""tools/demo.py on images, with a tiny DETR of random weights."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from PIL import Image
from pycocotools import mask as coco_mask

from d2video.video.image_io import read_rgb
from d2video.video.video_reader import open_video
from d2video.video.video_writer import VideoWriter
from tests.projects.DETR.tiny import tiny_cfg

CLASSES = ["cat", "dog", "grass", "sky"]  # the first two are things
OVERRIDES = [
    *("INPUT.MIN_SIZE_TEST", 32, "INPUT.MAX_SIZE_TEST", 48),
    *("MODEL.MASK_ON", True, "MODEL.DETR.PANOPTIC.ENABLED", True),
    *("MODEL.DETR.PANOPTIC.NUM_THINGS", 2, "MODEL.DETR.PANOPTIC.SCORE_THRESH", 0.0),
    *("DATASETS.TEST", ("demo_images_test",)),
]


@pytest.fixture(scope="module")
def model_files(tmp_path_factory):
    """Folder of a config and its weights."""
    folder = tmp_path_factory.mktemp("model")
    MetadataCatalog.get("demo_images_test").thing_classes = CLASSES
    cfg = tiny_cfg(*OVERRIDES, "MODEL.WEIGHTS", str(folder / "model.pth"))
    torch.manual_seed(1)
    torch.save({"model": build_model(cfg.clone()).state_dict()}, folder / "model.pth")
    (folder / "tiny.yaml").write_text(cfg.dump())
    yield folder
    MetadataCatalog.remove("demo_images_test")


@pytest.fixture
def photos(tmp_path):
    """A folder of photos as people have them: sizes, orientations and colour modes differ."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    wide = Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    tall = Image.fromarray(rng.integers(0, 256, (70, 40, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[274] = 6  # stored on its side
    wide.save(folder / "2.png")
    tall.save(folder / "10.JPG")
    wide.convert("L").save(folder / "grey.webp")
    wide.convert("CMYK").save(folder / "print.jpg")
    wide.save(folder / "turned.jpg", exif=exif)
    (folder / "notes.txt").write_text("no image")
    return folder


SIZES = {
    "2.png": (48, 64),
    "10.JPG": (70, 40),
    "grey.webp": (48, 64),
    "print.jpg": (48, 64),
    "turned.jpg": (64, 48),
}


def arguments(model_files, source, *more) -> list[str]:
    head = ["--config-file", model_files / "tiny.yaml", "--input", source]
    return [str(part) for part in (*head, *more)]


def test_folder_of_different_sizes(demo, model_files, photos, tmp_path):
    out, results = tmp_path / "out", tmp_path / "out.json"
    demo.main(arguments(model_files, photos, "--output", out, "--results", results))
    assert {path.name: read_rgb(path).shape[:2] for path in out.iterdir()} == SIZES
    content = json.loads(results.read_text())
    frames = content["frames"]
    assert content["categories"] == CLASSES
    assert [frame["file_name"] for frame in frames] == list(SIZES)  # in natural order
    assert [(frame["height"], frame["width"]) for frame in frames] == list(SIZES.values())
    for frame in frames:
        assert "track_id" not in json.dumps(frame)
        masks = np.stack([coco_mask.decode(each["segmentation"]) for each in frame["segments"]])
        assert (masks.sum(0) == 1).all()  # the segments share out the image
        assert all(each["isthing"] == (each["category_id"] < 2) for each in frame["segments"])
        assert all(each["category_id"] < 2 for each in frame["instances"])


@pytest.mark.parametrize("name", ["out.jpg", "sub/out.png"])
def test_panoptic_picture(demo, model_files, photos, tmp_path, name):
    out, results = tmp_path / name, tmp_path / "out.json"
    demo.main(arguments(model_files, photos / "2.png", "--output", out, "--results", results))
    before, after = read_rgb(photos / "2.png").astype(int), read_rgb(out)
    changed = np.abs(after - before).sum(-1) > 30
    assert changed.mean() > 0.8  # every pixel has a segment
    (frame,) = json.loads(results.read_text())["frames"]
    assert frame["file_name"] == "2.png"


def test_instances_and_boxes_alone(demo, model_files, photos, tmp_path):
    weights = torch.load(model_files / "model.pth")["model"]
    boxes_only = {name: value for name, value in weights.items() if "mask_branch" not in name}
    torch.save({"model": boxes_only}, tmp_path / "boxes.pth")
    common = ["--score-threshold", 0, "--opts", "MODEL.DETR.PANOPTIC.ENABLED", False]
    boxes = ["MODEL.MASK_ON", False, "MODEL.WEIGHTS", tmp_path / "boxes.pth"]
    for index, opts in enumerate([[], boxes]):
        out = tmp_path / f"{index}.png"
        demo.main(arguments(model_files, photos / "2.png", "--output", out, *common, *opts))
        assert (read_rgb(out) != read_rgb(photos / "2.png")).any()


def test_video(demo, model_files, tmp_path):
    grey = np.full((48, 64, 3), 90, np.uint8)
    with VideoWriter(tmp_path / "in.mp4", fps=10) as writer:
        for _ in range(3):
            writer.write(grey)
    out, results = tmp_path / "out.mp4", tmp_path / "out.json"
    demo.main(arguments(model_files, tmp_path / "in.mp4", "--output", out, "--results", results))
    frames = [frame.image for frame in open_video(out)]
    assert len(frames) == 3
    assert np.abs(frames[0].astype(int) - grey).max(-1).mean() > 5
    content = json.loads(results.read_text())
    assert content["fps"] == 10
    assert all(frame["segments"] for frame in content["frames"])


def test_folder_as_video_where_a_video_is_asked_for(demo, model_files, tmp_path):
    (tmp_path / "frames").mkdir()
    for index in range(2):
        Image.new("RGB", (64, 48)).save(tmp_path / "frames" / f"{index}.png")
    out = tmp_path / "out.mp4"
    demo.main(arguments(model_files, tmp_path / "frames", "--output", out))
    assert len(list(open_video(out))) == 2


def test_faults_are_one_line_and_leave_nothing(demo, model_files, photos, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (photos / "broken.jpg").write_bytes((photos / "print.jpg").read_bytes()[:300])
    cases = [
        ("photos", "out", "broken.jpg"),
        ("photos/broken.jpg", "out.jpg", "broken.jpg"),
        ("photos", "out.jpg", "6 images"),
        ("none.jpg", "out.jpg", "none.jpg does not exist"),
        ("empty", "out", "holds no image"),
        ("photos/2.png", "out.gif", "must end in"),
        ("photos/2.png", "photos/2.png", "is the input"),
        ("photos", "photos", "is the input"),
    ]
    more = ["--mot-results", tmp_path / "out.txt"]
    with pytest.raises(SystemExit):
        demo.main(arguments(model_files, tmp_path / "photos", *more))
    assert "error: DETR does not track, so there are no tracks" in capsys.readouterr().err
    before = set(tmp_path.rglob("*"))
    for source, output, message in cases:
        more = ("--output", tmp_path / output, "--results", tmp_path / "out.json")
        with pytest.raises(SystemExit) as stop:
            demo.main(arguments(model_files, tmp_path / source, *more))
        assert stop.value.code == 1
        lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
        assert len(lines) == 1
        assert message in lines[0], (lines, message)
        assert set(tmp_path.rglob("*")) == before, (source, output)


def test_a_model_that_tracks_takes_a_folder_as_a_video(demo, photos, tmp_path, capsys):
    torch.save({"model": {"weight": torch.ones(1)}}, tmp_path / "model.pth")
    (tmp_path / "tiny.yaml").write_text(
        f"MODEL: {{META_ARCHITECTURE: StubFromConfig, DEVICE: cpu, WEIGHTS: {tmp_path}/model.pth}}\n"
        "INPUT: {FORMAT: RGB, MIN_SIZE_TEST: 24}\nDATASETS: {TEST: []}\n"
    )
    with pytest.raises(SystemExit):
        demo.main(arguments(tmp_path, photos, "--output", tmp_path / "out"))
    assert "all frames of a video must have one size" in capsys.readouterr().err
    demo.main(arguments(tmp_path, photos / "2.png", "--output", tmp_path / "out.png"))
    assert read_rgb(tmp_path / "out.png").shape == (48, 64, 3)

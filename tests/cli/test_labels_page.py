"""The commands of docs/guides/labels.md, from exports with their videos to a model that predicts."""

import inspect
import re
import shlex
from pathlib import Path

import pytest
from detectron2.modeling import build_model

from d2video.checkpoint import VideoCheckpointer
from d2video.cli import main
from d2video.formats.labels.label_formats import LABEL_FORMATS
from d2video.formats.labels.recognition import RECOGNISERS
from d2video.structures import set_class_names
from tests.formats import test_labelme
from tests.helpers import ROOT
from tests.helpers.cvat_jobs import write_job
from tests.helpers.true_labels import true_videos, write_video
from tests.projects.VisTR.tiny import SMALL, tiny_cfg

pytestmark = pytest.mark.usefixtures("scratch_catalog")

CONFIG = "VisTR/vistr_R50_ytvis2021"
TINY = [
    *("MODEL.DEVICE", "cpu", "SEED", "1", "SOLVER.MAX_ITER", "1", "SOLVER.IMS_PER_BATCH", "1"),
    *map(str, SMALL),
]


def commands(number: int) -> list[list[str]]:
    """The words of the commands in a block of the page."""
    page = (ROOT / "docs" / "guides" / "labels.md").read_text()
    block = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)[number]
    return [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]


def write_weights() -> str:
    """The checkpoint of a small model of other classes."""
    model = build_model(tiny_cfg())
    set_class_names(model, ["sheep", "horse", "cow"])
    VideoCheckpointer(model, "weights").save("other")
    return "weights/other.pth"


def as_tiny(words: list[str]) -> list[str]:
    """With a small model in place of the page's."""
    if CONFIG not in words:
        return words
    place = words.index(CONFIG)
    words = [*words[:place], "VisTR/vistr_tiny_shapes.yaml", *words[place + 1 :]]
    if "MODEL.WEIGHTS" in words:
        words[words.index("MODEL.WEIGHTS") + 1] = write_weights()
    if words[1] == "show-data":
        words = [*words[:3], "--num-clips", "1", *words[3:]]
    return [*words, *TINY]


@pytest.fixture
def exports(tmp_path, monkeypatch) -> Path:
    """The working folder: in ``exports`` three tasks of CVAT, two of them zips, with their videos; and a new
    video."""
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        video = write_job(tmp_path / "exports", number, zipped=number > 0)
    write_video(video, tmp_path / "new.mp4")
    return tmp_path


def test_from_exports_to_predictions(exports, capfd):
    steps = commands(0)
    assert [words[1] for words in steps] == [
        *("check", "split", "show-data", "train", "evaluate", "predict")
    ]
    printed = {}
    for words in steps:
        assert words[0] == "d2video"
        main(as_tiny(words)[1:])
        printed[words[1]] = capfd.readouterr()
    assert "no faults" in printed["check"].out
    assert "held.json: 1 video" in printed["split"].out
    assert [*(exports / "output" / "visualize_data").iterdir()]
    assert (exports / "output" / "mine" / "model_final.pth").is_file()
    evaluated = printed["evaluate"].out + printed["evaluate"].err
    assert "AP by class" in evaluated
    assert "cat" in evaluated
    assert "sheep" not in evaluated
    assert (exports / "new_annotated.mp4").stat().st_size > 1000
    assert (exports / "new_annotated.json").is_file()


def test_extracted_frames_stand_in_for_the_video(exports, capfd):
    extract, check = commands(2)
    main(extract[1:])
    (exports / "exports" / "street_2.mp4").unlink()
    main([check[1], "exports/job_2.zip", *check[3:]])
    assert "no faults" in capfd.readouterr().out


def test_options_and_other_programs(exports, capfd):
    test_labelme.write(true_videos(crowd=False), exports / "labelme_folder")
    check, train = commands(1)
    main(check[1:])
    assert "no faults, 2 records read" in capfd.readouterr().out
    main([*as_tiny(train)[1:], "DATASETS.TEST", "()"])
    (words,) = commands(3)
    main(words[1:])
    assert (exports / "tracks" / "street_2" / "gt" / "gt.txt").is_file()
    page = (ROOT / "docs" / "guides" / "labels.md").read_text()
    (python,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    found = {}
    exec(python, found)
    assert len(found["labels"].videos) == 3
    assert found["name"].startswith("exports")


def test_the_options_of_formats():
    page = (ROOT / "docs" / "guides" / "labels.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\|.*\| (.*)\|$", page, re.MULTILINE)
    told = {name: re.findall(r"`(\w+)`", options) for name, options in rows}
    assert told.keys() == RECOGNISERS.keys() - {"coco_panoptic"}
    common = ("root", "report", "image_root", "videos", "needs_images")
    for name, read in LABEL_FORMATS.items():
        own = [key for key in inspect.signature(read).parameters if key not in common]
        assert told[name] == own, name


def test_labelme_frames_of_a_real_video(tmp_path, monkeypatch, capfd):
    root = ROOT.parent / "shared" / "data" / "real" / "labelme_video"
    if not root.is_dir():
        pytest.skip("real data are not here")
    monkeypatch.chdir(tmp_path)
    register = f'[["mine", "labelme", {{"root": "{root}", "tracks": "order"}}]]'
    resize = '[["ResizeShortestEdge", {"short_edge_lengths": [48]}]]'
    data = [
        "DATASETS.REGISTER",
        register,
        "DATASETS.TRAIN",
        "('mine',)",
        "DATASETS.TEST",
        "('mine',)",
    ]
    main(["check", str(root), "--opts", "tracks", "order"])
    assert "no faults, 1 record read" in capfd.readouterr().out
    train = ["train", "VisTR/vistr_tiny_shapes.yaml", *data, *TINY, "INPUT.AUGMENTATIONS", resize]
    main([*train, "INPUT.MIN_SIZE_TEST", "48", "OUTPUT_DIR", "output"])
    assert (tmp_path / "output" / "model_final.pth").is_file()

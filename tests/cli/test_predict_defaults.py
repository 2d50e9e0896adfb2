"""``d2video predict street.mp4``: what it takes, runs and writes if nothing else is said."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from d2video.cli.predict import parse_args
from d2video.config import load_cfg
from d2video.inference import loading
from d2video.video.video_reader import open_video
from d2video.video.video_writer import VideoWriter
from tests.cli.test_predict_restoration import files  # noqa: F401


@pytest.fixture
def street(tmp_path, monkeypatch):
    """The current folder: a video, images, and a model that stands in for the default one."""
    monkeypatch.chdir(tmp_path)
    with VideoWriter("street.mp4", fps=10) as writer:
        for t in range(3):
            image = np.full((48, 64, 3), 60, np.uint8)
            image[20:32, 3 * t : 3 * t + 12] = 255
            writer.write(image)
    os.mkdir("my.photos")
    for name in ("a.png", "b.jpg"):
        Image.fromarray(image).save(f"my.photos/{name}")
    (tmp_path / "stub.yaml").write_text(
        "MODEL: {META_ARCHITECTURE: StubFromConfig, DEVICE: cpu, WEIGHTS: model.pth}\n"
        "INPUT: {FORMAT: RGB, MIN_SIZE_TEST: 24}\nDATASETS: {TEST: []}\n"
    )
    torch.save({"model": {"weight": torch.ones(1)}}, "model.pth")
    return tmp_path


@pytest.fixture
def default_model(monkeypatch):
    """The stub in place of the default model; a list of what models were asked for."""
    asked: list[tuple[str, list]] = []

    def stub(model, config_file, opts):
        asked.append((model, opts))
        return load_cfg("stub.yaml", [])

    monkeypatch.setattr(loading, "predictor_config", stub)
    return asked


def written(folder, before) -> set[str]:
    return {path.name for path in folder.iterdir()} - before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["street.mp4"], {"street_annotated.mp4", "street_annotated.json"}),
        (["my.photos/a.png"], {"a_annotated.jpg", "a_annotated.json"}),
        (["my.photos"], {"my_photos_annotated.mp4", "my_photos_annotated.json"}),
        (["street.mp4", "again.mp4"], {"annotated"}),
        (["*.mp4"], {"annotated"}),
        (["street.mp4", "--results", "r.json"], {"r.json"}),
        (["street.mp4", "--output", "o.mp4"], {"o.mp4"}),
    ],
)
def test_what_is_written(demo, street, default_model, capsys, words, expected):
    """The stub takes a folder as a video."""
    shutil.copy("street.mp4", "again.mp4")
    before = written(street, set())
    given = {name: (street / name).read_bytes() for name in ("street.mp4", "again.mp4")}
    demo.main(words)
    assert written(street, before) == expected
    said = capsys.readouterr().out.splitlines()[-1]
    assert all(name in said for name in expected)
    assert given == {name: (street / name).read_bytes() for name in given}


def test_several_videos_have_a_folder(demo, street, default_model):
    shutil.copytree("my.photos", "clips")
    for name in ("a.png", "b.jpg"):
        os.remove(f"clips/{name}")
    for name in ("a.mp4", "b.mp4"):
        shutil.copy("street.mp4", f"clips/{name}")
    demo.main(["clips"])
    made = {path.name for path in (street / "clips_annotated").iterdir()}
    assert made == {".d2video", "a.mp4", "a.json", "b.mp4", "b.json"}
    assert len(list(open_video("clips_annotated/b.mp4"))) == 3
    assert len(json.loads((street / "clips_annotated/b.json").read_text())["frames"]) == 3


def test_images_of_a_model_that_restores(demo, files, monkeypatch):  # noqa: F811
    """It finds nothing to write as JSON, and loses nothing to JPEG."""
    monkeypatch.chdir(files)
    before = written(files, set())
    demo.main(["images", "--config-file", "stub.yaml"])
    demo.main(["images/a.png", "--config-file", "stub.yaml"])
    assert written(files, before) == {"images_annotated", "a_annotated.png"}
    assert {path.name for path in (files / "images_annotated").iterdir()} == {"a.png", "b.png"}


def test_the_default_model(demo, street, default_model):
    demo.main(["my.photos/a.png", "MODEL.DETR.PANOPTIC.SCORE_THRESH", "0.5"])
    demo.main(["street.mp4", "--model", "model.pth"])
    demo.main(["street.mp4", "MODEL.WEIGHTS", "model.pth"])
    models = [model for model, _ in default_model]
    assert models == ["DETR/detr_panoptic_R50", "model.pth", ""]
    assert default_model[0][1] == ["MODEL.DETR.PANOPTIC.SCORE_THRESH", "0.5"]


@pytest.mark.parametrize(
    "line",
    [
        "a b --output o --config-file c SEED 1 MODEL.WEIGHTS w",
        "--output o a b SEED=1 --config-file c MODEL.WEIGHTS w",
        "a --output o b --config-file c --opts SEED 1 MODEL.WEIGHTS w",
        "a --input b --output o --config-file c SEED 1 --opts MODEL.WEIGHTS w",
    ],
)
def test_sources_stand_before_the_keys(street, line):
    for name in ("a", "b"):
        shutil.copy("street.mp4", name)
    args = parse_args(line.split())
    assert args.sources == ["a", "b"]
    assert (args.output, args.config_file) == ("o", "c")
    assert " ".join(args.opts).replace("=", " ") == "SEED 1 MODEL.WEIGHTS w"


def test_a_source_may_have_the_name_of_a_key(street):
    shutil.copy("street.mp4", "TEST.MP4")
    assert parse_args(["TEST.MP4"]).sources == ["TEST.MP4"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["street.mp5"], "street.mp5 does not exist"),
        ([""], "'' does not exist"),
        (["camera:0"], "camera:0 has no end: give --output, --results or --show"),
        (["street.mp4", "--results", "street.mp4"], "cannot write street.mp4: it is the input"),
        (["street.mp4", "model.weights", "w"], "model.weights does not exist"),
        (["street.mp4", "--output", "./street.mp4"], "it is the input itself"),
        (["street.mp4", "--results", "r", "--mot-results", "./r"], "cannot write ./r twice"),
        (["*.mp4", "--output", "."], "street.mp4 there is an input"),
        (["my.photos/*.*", "--output", "my.photos"], "it exists"),
    ],
)
def test_mistakes_are_one_line_and_leave_the_input(
    demo, street, default_model, capsys, words, message
):
    shutil.copy("street.mp4", "again.mp4")
    given = (street / "street.mp4").read_bytes()
    with pytest.raises(SystemExit) as stop:
        demo.main(words)
    error = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 1
    assert error.startswith("error: ")
    assert message in error
    assert (street / "street.mp4").read_bytes() == given


def test_no_source(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_args([])
    assert stop.value.code == 2
    assert "no source is given: name a video" in capsys.readouterr().err

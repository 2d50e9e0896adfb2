"""d2video.load: a predictor by name, path and address, in three lines."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model

import d2video
from d2video.checkpoint import VideoCheckpointer
from d2video.config.stored import config_text
from d2video.model_zoo import ENTRIES
from d2video.structures import set_class_names
from d2video.video import VideoWriter
from tests.helpers.loopback import serve
from tests.projects.DETR.tiny import SMALL, tiny_cfg

NAMES = ["bolt", "nut", "screw", "washer"]
SIZE = ["INPUT.MIN_SIZE_TEST", 64, "INPUT.MAX_SIZE_TEST", 64]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``model_final.pth`` of a very small DETR, with its config, and ``street.mp4``."""
    folder = tmp_path_factory.mktemp("load")
    cfg = tiny_cfg(*SIZE)
    torch.manual_seed(0)
    model = build_model(cfg)
    set_class_names(model, NAMES)
    VideoCheckpointer(model, str(folder), config=config_text(cfg)).save("model_final")
    with VideoWriter(folder / "street.mp4", fps=10) as writer:
        for level in (0, 100, 200):
            writer.write(np.full((48, 64, 3), level, np.uint8))
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def answers(model, folder) -> list[dict]:
    frames = [frame.image for frame in model(folder / "street.mp4")]
    return [model.predict(image).to_dict() for image in frames]


def test_the_four_lines(folder):
    model = d2video.load(folder / "model_final.pth", device="cpu")
    assert isinstance(model, d2video.Predictor)
    count = 0
    for frame in model(str(folder / "street.mp4")):
        assert isinstance(frame, d2video.VideoFrame)
        assert frame.plot(score_threshold=0).shape == (48, 64, 3)
        assert frame.class_names == NAMES
        assert len(frame.to_coco()) == len(frame.instances)
        assert frame._repr_png_().startswith(b"\x89PNG")
        count += 1
    assert count == 3


def test_the_same_model_by_path_address_and_name(folder, monkeypatch, tmp_path):
    expected = answers(d2video.load(str(folder / "model_final.pth"), device="cpu"), folder)
    assert all(frame["instances"] for frame in expected)
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    content = (folder / "model_final.pth").read_bytes()
    page = {"/w/model.pth": lambda request: request.send(content, "application/octet-stream")}
    with serve(page) as host:
        address = f"http://{host}/w/model.pth"
        assert answers(d2video.load(address, device="cpu"), folder) == expected
        (row,) = (entry for entry in ENTRIES if entry.config == "DETR/detr_R50_500ep")
        row = replace(row, addresses=(address,), opts=(*SMALL, *SIZE))
        monkeypatch.setattr("d2video.model_zoo.zoo.ENTRIES", [row])
        assert answers(d2video.load("DETR/detr_R50_500ep", device="cpu"), folder) == expected


def test_options_and_a_config_win(folder, tmp_path):
    path = folder / "model_final.pth"
    model = d2video.load(path, device="cpu", opts=["MODEL.DETR.SCORE_THRESH_TEST", 1.0])
    assert all(frame["instances"] == [] for frame in answers(model, folder))
    config = tmp_path / "mine.yaml"
    config.write_text(config_text(tiny_cfg(*SIZE, "MODEL.DETR.SCORE_THRESH_TEST", 1.0)))
    model = d2video.load(path, config=config, device="cpu")
    assert all(frame["instances"] == [] for frame in answers(model, folder))


def test_models_of_images_follow_objects_unless_asked_not_to(folder, tmp_path):
    path = folder / "model_final.pth"
    scores = ["MODEL.DETR.LINKING.NEW_SCORE", 0.1, "MODEL.DETR.LINKING.LOW_SCORE", 0.1]
    model = d2video.load(path, device="cpu", opts=scores)
    frames = list(model(folder / "street.mp4"))
    assert all(frame.instances.has("track_ids") for frame in frames)
    assert any("track_id" in each for each in frames[-1].to_dict()["instances"])
    alone = model.predict(frames[0].image)  # an image is answered by itself
    assert not alone.instances.has("track_ids")
    assert len(alone.instances) == 6
    for given in (["MODEL.DETR.LINK", False], ["MODEL.DETR.LINK=False"]):
        model = d2video.load(path, device="cpu", opts=given)
        assert not any(f.instances.has("track_ids") for f in model(folder / "street.mp4"))
    config = tmp_path / "mine.yaml"  # is taken as it is
    config.write_text(config_text(tiny_cfg(*SIZE)))
    assert d2video.load(path, config=config, device="cpu").task.does == "finds objects"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("DETR/detr_R50_500epochs",), "did you mean DETR/detr_R50_500ep"),
        (("none.pth",), "model none.pth: no such file"),
        (("{}/street.mp4",), "street.mp4"),
        (("{}/model_final.pth", {"device": "gpu"}), "MODEL.DEVICE is 'gpu', no device of torch"),
        (("{}/model_final.pth", {"device": "cuda:99"}), "MODEL.DEVICE is cuda:99"),
        (("{}/model_final.pth", {"opts": ["MODEL.DETR"]}), "MODEL.DETR has no value"),
        (("{}/model_final.pth", {"opts": ["MODEL.DETR.LINKS", True]}), "no key MODEL.DETR.LINKS"),
        (("{}/model_final.pth", {"config": "none.yaml"}), "none.yaml"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(folder, arguments, message):
    model, *options = arguments
    with pytest.raises(d2video.UserError, match=message) as caught:
        d2video.load(model.format(folder), **(options[0] if options else {}))
    assert "\n" not in str(caught.value)

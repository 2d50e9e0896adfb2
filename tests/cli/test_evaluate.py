"""``d2video evaluate`` and ``predict`` from a checkpoint alone, in another folder."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from d2video.checkpoint import load_checkpoint_file
from d2video.cli.convert import main as convert
from d2video.cli.evaluate import main, parse_args
from d2video.cli.predict import main as predict
from d2video.utils.errors import UserError
from tests.cli.conftest import SHAPES

ABOUT = ("config", "metrics", "class_names", "meta_architecture", "d2video_version")

pytestmark = pytest.mark.usefixtures("scratch_catalog", "loggers_as_before")


def test_its_test_sets_are_evaluated(trained, capsys):
    main(["../run", "--json", "found.json"])
    found = json.loads((trained / "elsewhere/found.json").read_text())
    assert found["model"] == "../run/model_final.pth"
    assert found["results"].keys() == {"evaluated"}
    assert 0 <= found["results"]["evaluated"]["bbox"]["AP"] <= 100
    said = capsys.readouterr().out
    assert "the config in it is used" in said
    assert "copypaste: AP,AP50" in said
    assert list((trained / "elsewhere/output/evaluation/inference").rglob("*.json"))
    assert not list(trained.glob("run/*.txt"))


def test_labels_by_their_path(trained):
    path = "../shapes/annotations/instances_val.json"
    main(["../run", "--json", "found.json", "--data", path, "OUTPUT_DIR", "here"])
    assert (trained / "elsewhere/here").is_dir()
    found = json.loads((trained / "elsewhere/found.json").read_text())
    assert found["results"].keys() == {path}
    with pytest.raises(SystemExit):
        main(["../run", "--data", "../shapes.zip"])


def test_other_data_and_keys(trained):
    files = {"json_file": "instances_val.json", "image_root": "../shapes/val"}
    shutil.copy("../shapes/annotations/instances_val.json", ".")
    mine = ["DATASETS.REGISTER", json.dumps([["mine", "coco", files]])]
    main(
        [
            "../run/model_final.pth",
            "--data",
            "mine",
            "--json",
            "j",
            "--opts",
            *mine,
            "OUTPUT_DIR",
            "o",
        ]
    )
    assert json.loads((trained / "elsewhere/j").read_text())["results"].keys() == {"mine"}
    assert (trained / "elsewhere/o/log.txt").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nix.pth"], "model nix.pth: no such file"),
        (["../run", "--data", "evaluatd"], "did you mean evaluated?"),
        (["../run", "DATASETS.TEST", "()"], "DATASETS.TEST is empty"),
        (["../run", "--num-gpus", "3", "MODEL.DEVICE", "cuda"], "no GPU"),
        (["DETR/detr_R50_150ep"], "no weights are published"),
        ([], "no model is given"),
        (["a", "--model", "b"], "two models are given, a and b"),
        (["SEED", "3"], "no model is given"),
    ],
)
def test_mistakes_are_one_line(trained, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_without_its_data_it_predicts_but_does_not_evaluate(trained, capsys):
    shutil.rmtree(trained / "shapes")
    cv2.imwrite("street.png", np.full((48, 64, 3), 90, np.uint8))
    predict(
        ["--model", "../run", "--input", "street.png", "--results", "r.json", "MODEL.DEVICE", "cpu"]
    )
    result = json.loads((trained / "elsewhere/r.json").read_text())
    assert SHAPES[0] in json.dumps(result)
    with pytest.raises(SystemExit):
        main(["../run"])
    assert "shapes/annotations/instances_val.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "model", "data", "opts"),
    [
        ("m.pth", "m.pth", [], []),
        ("m.pth SEED 1", "m.pth", [], ["SEED", "1"]),
        ("m.pth --num-gpus 2 SEED 1", "m.pth", [], ["SEED", "1"]),
        ("m.pth --data a b --opts SEED 1", "m.pth", ["a", "b"], ["SEED", "1"]),
        ("--data a --model m.pth", "m.pth", ["a"], []),
        ("MODEL.WEIGHTS m.pth", "", [], ["MODEL.WEIGHTS", "m.pth"]),
        ("--config-file c.yaml", "", [], []),
    ],
)
def test_words_of_the_command(line, model, data, opts):
    args = parse_args(line.split())
    assert args.model == model
    test = ["DATASETS.TEST", repr(tuple(data))] if data else []
    assert args.opts == ["OUTPUT_DIR", "output/evaluation", *test, *opts]


def test_an_unknown_option_is_not_passed_over():
    with pytest.raises(SystemExit):
        parse_args(["m.pth", "--date", "a"])
    with pytest.raises(UserError, match="no model is given"):
        parse_args([])


def test_a_release_needs_no_config_either(trained, capsys):
    convert(["--input", "../run", "--output", "r.safetensors"])
    released, trained_one = (
        load_checkpoint_file(f) for f in ("r.safetensors", "../run/model_final.pth")
    )
    assert {key: released[key] for key in ABOUT} == {key: trained_one[key] for key in ABOUT}
    assert released["metrics"]["best"]["results"] == {"bbox/AP": 12.5}
    main(["r.safetensors", "--json", "released.json"])
    main(["../run", "--json", "trained.json"])
    found = [json.loads(Path(f).read_text())["results"] for f in ("released.json", "trained.json")]
    assert found[0] == found[1]
    assert "bbox/AP was 12.5" in capsys.readouterr().out

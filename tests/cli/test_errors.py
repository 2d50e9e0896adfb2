"""``d2video errors``: of a model, of results, and what it refuses."""

import json
from argparse import Namespace

import pytest

from d2video.cli.errors import main, show
from d2video.evaluation.errors import Breakdown
from d2video.synthetic import ShapesSpec, write_ytvis_shapes
from d2video.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("scratch_catalog", "loggers_as_before")


def test_of_a_model(trained, capsys):
    run = str(trained / "run")  # what is logged once for a path is for other tests, too
    main([run, "--json", "errors.json", "--score", "0.1"])
    said = capsys.readouterr().out
    assert "copypaste: AP,AP50" in said
    found = json.loads((trained / "elsewhere/errors.json").read_text())
    assert (found["model"], found["score"]) == (f"{run}/model_final.pth", 0.1)
    (by_task,) = found["errors"].values()
    for name in by_task["bbox"]["tables"]:
        assert f"bbox: {name}" in said or not by_task["bbox"]["tables"][name]
    labels = json.loads((trained / "shapes/annotations/instances_val.json").read_text())
    objects = by_task["bbox"]["objects"]
    assert len(objects) == len(labels["annotations"])
    assert {row["image"] for row in objects} <= {each["id"] for each in labels["images"]}
    main([run, "--json", "again.json", "--score", "0.1"])
    again = (trained / "elsewhere/again.json").read_text()
    assert again == (trained / "elsewhere/errors.json").read_text()


def test_of_results(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_ytvis_shapes("shapes", {"val": 2}, ShapesSpec(height=48, width=64), progress=False)
    with open("shapes/val.json") as file:
        labels = json.load(file)
    given = labels["annotations"][1:]
    keys = ("video_id", "category_id", "segmentations")
    results = [{**{key: each[key] for key in keys}, "score": 0.9} for each in given]
    with open("results.json", "w") as file:
        json.dump(results, file)
    main(["results.json", "--data", "shapes/val.json", "--json", "errors.json"])
    with open("errors.json") as file:
        found = json.load(file)
    objects = found["errors"]["shapes/val.json"]["segm"]["objects"]
    assert [row["cause"] for row in objects] == ["not seen"] + ["found"] * len(given)
    assert "segm: objects found" in capsys.readouterr().out


def test_a_set_without_labels_keeps_the_others(tmp_path, capsys):
    path = tmp_path / "errors.json"
    by_set = {"bare": [], "full": [Breakdown("segm", {"table": [{"AP": 1}]}, [])]}
    with pytest.raises(UserError, match="dataset bare"):
        show(Namespace(json=path, score=0.5), "model", by_set)
    assert "segm: table" in capsys.readouterr().out
    assert json.loads(path.read_text())["errors"]["full"]["segm"]["tables"] == {
        "table": [{"AP": 1}]
    }


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["RUN", "--data", "../unlabelled.json"], 1, "without labelled objects"),
        (["RUN", "--score", "2"], 2, "must be from 0 to 1"),
        (["nix.pth"], 1, "model nix.pth: no such file"),
        (["results.json"], 1, "name their one dataset"),
        ([], 1, "no model is given"),
    ],
)
def test_mistakes_are_one_line(trained, capsys, words, status, message):
    labels = json.loads((trained / "shapes/annotations/instances_val.json").read_text())
    labels["image_root"] = "shapes/val"
    (trained / "unlabelled.json").write_text(json.dumps({**labels, "annotations": []}))
    with pytest.raises(SystemExit) as end:
        main([word.replace("RUN", str(trained / "run")) for word in words])
    assert end.value.code == status
    error = capsys.readouterr().err
    assert message in error
    assert status == 2 or error.count("\n") == 1

"""``d2video inspect``: the page, its pictures, and what it refuses."""

import json
import re
from pathlib import Path

import cv2
import pytest

from d2video.cli.evaluate import main as evaluate
from d2video.cli.inspect import main

pytestmark = pytest.mark.usefixtures("scratch_catalog", "loggers_as_before")


def pictures(page: str) -> set[str]:
    folder = Path(page).with_suffix("")
    files = [*folder.with_name(f"{folder.name}_files").glob("*.png")]
    assert all(cv2.imread(str(file)) is not None for file in files)
    return {file.stem for file in files}


def image_of(folder: Path) -> str:
    return str(next((folder / "shapes/val").glob("*.jpg")))


def test_a_page_of_detr(trained):
    main(
        [
            image_of(trained),
            "--model",
            str(trained / "run"),
            "--queries",
            "2",
            "5",
            "2",
            "--points",
            "3,4",
        ]
    )
    page = Path("inspection.html").read_text()
    titles = re.findall("<h2>(.*?)</h2>", page)
    assert titles == [
        "Detections",
        "Encoder self-attention",
        "Decoder cross-attention",
        "Decoder layers",
    ]
    names = {"detections", "encoder_0", "layers"}
    names |= {f"decoder_query{query}{kind}" for query in (2, 5) for kind in ("", "_heads")}
    assert pictures("inspection.html") == names
    assert page.count("<img") == page.count('src="data:image/png;base64,') == len(names)


def test_layers_over_a_data_set(trained):
    """The last layer without NMS is the model itself."""
    files = {"json_file": "../shapes/annotations/instances_val.json", "image_root": "../shapes/val"}
    sets = ["DATASETS.REGISTER", repr([["evaluated", "coco", files]])]
    run = str(trained / "run")
    main([image_of(trained), "--model", run, "--data", "evaluated", *sets, "--output", "page.html"])
    page = Path("page.html").read_text()
    rows = re.findall(r"<tr>(.*?)</tr>", page.split("box AP by decoder layer")[1], re.S)
    last = re.findall(r">([^<]+)</td>", rows[-1])
    evaluate([run, "--data", "evaluated", "--json", "results.json", *sets])
    box = json.loads(Path("results.json").read_text())["results"]["evaluated"]["bbox"]
    assert (last[0], last[1], last[3]) == ("1", f"{box['AP']:.1f}", f"{box['AP50']:.1f}")
    assert any(name.startswith("slots") for name in pictures("page.html"))


def test_a_data_set_without_labels(trained):
    """Its query slots are shown."""
    labels = trained / "shapes/annotations/instances_val.json"
    content = json.loads(labels.read_text())
    del content["annotations"]
    labels.write_text(json.dumps(content))
    files = {"json_file": "../shapes/annotations/instances_val.json", "image_root": "../shapes/val"}
    sets = ["DATASETS.REGISTER", repr([["bare", "coco", files]])]
    main([image_of(trained), "--model", str(trained / "run"), "--data", "bare", *sets])
    page = Path("inspection.html").read_text()
    assert "Query slots over bare" in page
    assert "bare has no labelled objects" in page


MISTAKES = {
    "--points 900,3": "point 900,3 is outside the frame: choose x below 64 and y below 48",
    "--queries 6": "query 6 does not exist: the model has 0 to 5",
    "--layer 2": "layer 2 does not exist: the encoder has 0 to 0",
    "--frames 2": "--frames changes nothing on the page of DETR",
    "--tracks 1": "--tracks changes nothing on the page of DETR",
    "--start 7": "has 0 frames from number 7 on",
    "--data nothing": "dataset 'nothing' is not registered",
}


def test_a_mistake_is_one_line(trained, capsys):
    for words, message in MISTAKES.items():
        with pytest.raises(SystemExit, match="1"):
            main([image_of(trained), "--model", str(trained / "run"), *words.split()])
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
        assert [*Path().iterdir()] == []

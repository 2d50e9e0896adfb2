"""``d2video evaluate`` of results of other programs: what they are, and the figures of the evaluators."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances

from d2video.cli.evaluate import main, parse_args
from d2video.data.datasets.coco import register_coco
from d2video.data.datasets.coco_tracks import register_coco_tracks
from d2video.data.datasets.ytvis import register_ytvis_instances
from d2video.data.export import coco_content, write_mots, youtube_vis_content
from d2video.data.loading import load_records
from d2video.evaluation import build_evaluator
from d2video.formats.geometry.rle import to_rle
from tests.data.test_export import records
from tests.helpers.coco_sets import instance_content
from tests.helpers.true_labels import CLASSES, HEIGHT, WIDTH

pytestmark = pytest.mark.usefixtures("scratch_catalog", "loggers_as_before")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The true videos as YouTube-VIS ("vis"), COCO with tracks ("tracks"), MOTS20 (the folder mots) and as
    images ("images"); none of the images is there."""
    given = records(tmp_path / "frames")
    contents = {
        "vis": youtube_vis_content(given, CLASSES, image_root=str(tmp_path)),
        "tracks": coco_content(given, CLASSES, image_root=str(tmp_path)),
        "images": instance_content(),
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    write_mots(given, CLASSES, tmp_path / "mots", images=False)
    register_ytvis_instances("vis", {}, str(tmp_path / "vis.json"), "frames")
    register_coco_tracks("tracks", str(tmp_path / "tracks.json"), str(tmp_path))
    register_coco("images", {}, str(tmp_path / "images.json"), "images")
    shutil.rmtree(tmp_path / "frames")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def figures(results, data, *words):
    """What the command writes as JSON."""
    main([str(results), "--data", str(data), "--json", "figures.json", *words])
    with open("figures.json") as file:
        (found,) = json.load(file)["results"].values()
    return found


def of_model(name, inputs, outputs, folder):
    """What the evaluator finds of a model's answers, as JSON; its files of results are in ``folder``."""
    load_records(name)
    evaluator = build_evaluator(name, str(folder))
    evaluator.reset()
    evaluator.process(inputs, outputs)
    found = evaluator.evaluate()
    return json.loads(json.dumps(found, default=float).replace("NaN", "null"))


def test_results_of_youtube_vis(folder):
    (first, second) = load_records("vis")
    random = np.random.default_rng(0)
    answers = []
    for record in (first, second):
        masks = random.random((3, record["length"], HEIGHT, WIDTH)) < 0.2
        for n, (t, k) in enumerate([(0, 0), (1, 0), (0, -1)]):
            (each, *_) = record["annotations"][t][k:]
            masks[n, t] = decoded(each["segmentation"])
        answers.append(
            {
                "image_size": (HEIGHT, WIDTH),
                "pred_scores": [0.9, 0.5, 0.5],
                "pred_labels": [1, 0, 1],
                "pred_masks": torch.from_numpy(masks),
            }
        )
    wanted = of_model("vis", [first, second], answers, folder / "out")
    assert 0 < wanted["segm"]["AP50"] < 100 or wanted["segm"]["AP"] == 0
    assert figures("out/results.json", "vis") == wanted
    assert figures("out/results.zip", "vis.json") == wanted
    # By the same labels in another form, for which the classes are numbered alike.
    assert figures("out/results.json", "tracks") == wanted


def decoded(mask):
    from pycocotools import mask as coco_mask

    return coco_mask.decode(to_rle(mask, HEIGHT, WIDTH)).astype(bool)


def tracks_of_model(record):
    """Some of the labelled objects, one of a wrong class, some a little off."""
    frames = []
    for t, objects in enumerate(record["annotations"]):
        found = [each for k, each in enumerate(objects) if (t + k) % 4]
        boxes = torch.tensor([each["bbox"] for each in found], dtype=torch.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2] - t % 3
        frames.append(
            Instances(
                (HEIGHT, WIDTH),
                pred_boxes=Boxes(boxes),
                scores=torch.full((len(found),), 0.75),
                pred_classes=torch.tensor([each["category_id"] for each in found]).long(),
                track_ids=torch.tensor([each["id"] for each in found]).long(),
                pred_rles=[each["segmentation"] for each in found],
            )
        )
    return {"image_size": (HEIGHT, WIDTH), "frames": frames}


def test_results_of_tracking(folder):
    given = load_records("tracks")
    answers = [*map(tracks_of_model, given)]
    wanted = of_model("tracks", given, answers, folder / "out")
    assert 0 < wanted["mot"]["HOTA"] < 100
    assert figures("out", "tracks") == wanted
    with zipfile.ZipFile("tracks.zip", "w") as archive:
        for path in sorted((folder / "out").glob("*.txt")):
            archive.write(path, f"out/{path.name}")
    assert figures("tracks.zip", "tracks", "--output", "again") == wanted
    # All that there is to know of each class and sequence, as when a model runs.
    assert (
        next((folder / "again").rglob("results.json")).read_bytes()
        == (folder / "out/results.json").read_bytes()
    )


def test_where_text_files_may_lie(folder, capsys):
    """Beside notes, as TrackEval has them, in zips as macOS makes them; of one sequence the file."""
    given = load_records("tracks")
    wanted = of_model("tracks", given, [*map(tracks_of_model, given)], folder / "out")
    files = sorted((folder / "out").glob("*.txt"))
    (folder / "tracker/data").mkdir(parents=True)
    for path in files:
        shutil.copy(path, folder / "tracker/data")
    with zipfile.ZipFile("mac.zip", "w") as archive:
        for path in files:
            archive.write(path, f"tracks/{path.name}")
            archive.writestr(f"__MACOSX/tracks/._{path.name}", b"\0\5\26\7")
        archive.writestr("README.txt", "made by a tracker")
    (folder / "out/README.txt").write_text("made by a tracker")
    for results in ("tracker", "mac.zip", "out"):
        assert figures(results, "tracks") == wanted
    content = json.loads((folder / "tracks.json").read_text())
    (one,) = (video for video in content["videos"] if video["name"] == "clip_a")
    for key in ("images", "annotations"):
        content[key] = [each for each in content[key] if each["video_id"] == one["id"]]
    (folder / "one.json").write_text(json.dumps({**content, "videos": [one]}))
    shutil.copy("out/clip_a.txt", "any.txt")
    assert figures("any.txt", "one.json") == figures("out", "one.json")
    with pytest.raises(SystemExit):
        figures("any.txt", "tracks")
    assert "any.txt is one file, and dataset tracks has 2 sequences" in capsys.readouterr().err


def test_results_of_mots_by_their_content(folder):
    register_coco_tracks("masks", "tracks.json", ".", masks=True)
    given = load_records("masks")
    wanted = of_model("masks", given, [*map(tracks_of_model, given)], folder / "out")
    assert 0 < wanted["mot"]["sMOTSA"] < 100
    assert figures("out", "masks") == figures("out", "tracks") == wanted
    classes = dict(enumerate(CLASSES, 1))
    found = figures("out", "mots", "--opts", "classes", repr(classes))
    assert found["mot"]["HOTA"] == wanted["mot"]["HOTA"]


BOXES = {5: [[2, 4, 10, 10], [20, 10, 27, 19]], 2: [[1, 1, 4, 4]], 9: [[1, 1, 11, 12]]}


@pytest.mark.parametrize("masks", [False, True])
def test_results_of_coco(folder, masks):
    inputs, outputs = [], []
    for image_id, boxes in BOXES.items():
        found = Instances(
            (24, 32),
            pred_boxes=Boxes(torch.tensor(boxes).float()),
            scores=torch.linspace(0.9, 0.5, len(boxes)),
            pred_classes=torch.tensor([1, 0])[: len(boxes)],
        )
        if masks:
            found.pred_masks = torch.zeros(len(boxes), 24, 32, dtype=torch.bool)
            for mask, (x0, y0, x1, y1) in zip(found.pred_masks, boxes, strict=True):
                mask[y0:y1, x0:x1] = True
        inputs.append({"image_id": image_id})
        outputs.append({"instances": found})
    wanted = of_model("images", inputs, outputs, folder / "out")
    assert 0 < wanted["bbox"]["AP"] < 100
    assert figures("out/coco_instances_results.json", "images.json") == wanted
    if masks:  # without boxes only the masks are scored, and as they were
        entries = json.loads((folder / "out/coco_instances_results.json").read_text())
        entries = [{k: entry[k] for k in entry if k != "bbox"} for entry in entries]
        (folder / "masks.json").write_text(json.dumps(entries))
        assert figures("masks.json", "images") == {"segm": wanted["segm"]}


def test_frames_of_videos_are_images_by_the_numbers_of_the_exported_file(folder):
    content = json.loads((folder / "tracks.json").read_text())
    entries = [
        {key: each[key] for key in ("image_id", "category_id", "bbox", "segmentation")}
        | {"score": 1}
        for each in content["annotations"]
        if not each["iscrowd"]
    ]
    (folder / "r.json").write_text(json.dumps(entries))
    for data in ("tracks", "vis"):
        found = figures("r.json", data)
        assert found["bbox"]["AP"] == found["segm"]["AP"] == pytest.approx(100)


@pytest.mark.parametrize("masks", [False, True])
def test_numbers_of_frames_are_never_in_doubt_unsaid(folder, capsys, masks):
    """Labels count from 0, as most tools do, and results from 1, as most trackers do."""
    given = DatasetCatalog.get("tracks")
    for record in given:
        record["frame_numbers"] = range(record["length"])
    DatasetCatalog.register("from_0", lambda: given)
    benchmark = "MOTS20" if masks else "MOT17"
    kept = {
        key: MetadataCatalog.get("tracks").get(key)
        for key in ("thing_classes", "thing_dataset_id_to_contiguous_id")
    }
    kind = "mots" if masks else "mot"
    MetadataCatalog.get("from_0").set(evaluator_type=kind, benchmark=benchmark, **kept)
    answers = [*map(tracks_of_model, given)]
    wanted = of_model("from_0", given, answers, folder / "labels")
    lines = {path.name: path.read_text().splitlines() for path in (folder / "labels").glob("*.txt")}
    split = " " if masks else ","
    table = {name: [line.split(split, 1) for line in each] for name, each in lines.items()}
    last = {record["sequence"] + ".txt": record["length"] for record in given}
    for first in (0, 1):
        for part in ("all", "not_first", "not_last"):
            (folder / f"{first}{part}").mkdir()
            for name, rows in table.items():
                out = {"all": (), "not_first": ("0",), "not_last": (str(last[name] - 1),)}[part]
                text = (f"{int(t) + first}{split}{r}\n" for t, r in rows if t not in out)
                (folder / f"{first}{part}" / name).write_text("".join(text))
    assert figures("0all", "from_0") == figures("labels", "from_0") == wanted
    assert figures("1all", "from_0", "--frame-numbers", "1") == wanted
    (folder / "beyond").mkdir()
    for name, rows in table.items():
        (folder / "beyond" / name).write_text(f"{last[name]}{split}{rows[0][1]}\n")
    for results, said in (
        ("beyond", "is not among the sequence's frames 0 to"),
        ("1all", "nothing is in the first frame of clip_a, which has the number 0"),
        ("1not_last", "nothing is in the first frame of clip_a, which has the number 0"),
        ("0not_first", "nothing is in the first frame of clip_a, which has the number 0"),
    ):
        with pytest.raises(SystemExit):
            figures(results, "from_0")
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert said in error
        assert "--frame-numbers" in error
    for part in ("not_first", "not_last"):
        found = [figures(f"{k}{part}", "from_0", "--frame-numbers", str(k)) for k in (0, 1)]
        assert found[0] == found[1]
        assert (found[0] != wanted) == (part == "not_first")  # nothing was found in the last frames


def test_without_labels_results_are_only_checked(folder, capsys):
    for name in ("vis", "images"):
        content = json.loads((folder / f"{name}.json").read_text())
        del content["annotations"]
        (folder / f"{name}.json").write_text(json.dumps(content))
    assert figures(write(folder, []), "vis") == {}
    assert figures(write(folder, [ENTRY]), "images") == {}
    said = capsys.readouterr().out
    assert "results.json is sound: 0 tracks in 0 of 2 videos" in said
    assert "results.json is sound: 1 objects in 1 of 3 images" in said
    assert "vis.json has no labels: nothing is scored" in said
    assert "Annotations are not available for evaluation" in said


ENTRY = {"image_id": 5, "category_id": 4, "score": 0.5, "bbox": [1, 2, 3, 4]}
CODE = {"size": [24, 32], "counts": "Pj0"}


def write(folder, results):
    path = folder / "results.json"
    path.write_text(json.dumps(results))
    return path


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"images": []}, "must be a list of entries, not an object"),
        ([ENTRY, 3], "entry 1: must be an object with image_id, category_id, score, not a number"),
        ([ENTRY, {"image_id": 5}], "entry 1: the field category_id is missing"),
        ([ENTRY, ENTRY | {"image_id": 6}], "entry 1, image_id: 6 is not in"),
        ([ENTRY | {"image_id": "5"}], "entry 0, image_id: must be a whole number, not a text"),
        ([ENTRY | {"category_id": "nine"}], "'nine' is the name of category 9; write its number"),
        ([ENTRY | {"score": "1"}], "entry 0, score: must be a number, not a text"),
        ([ENTRY | {"bbox": [1, 2, 3]}], "entry 0, bbox: must be left, top, width and height"),
        ([ENTRY | {"bbox": [1, 2, -3, 4]}], "entry 0, bbox: must be left, top, width and height"),
        ([ENTRY | {"bbox": None}], "entry 0: it has neither bbox nor segmentation"),
        (
            [ENTRY, ENTRY | {"segmentation": CODE}],
            "entry 1: it has a segmentation, and entry 0 has none; give all the same",
        ),
        (
            [ENTRY | {"segmentation": CODE}, ENTRY],
            "entry 1: it has no segmentation, and entry 0 has one; give all the same",
        ),
        (
            [ENTRY | {"segmentation": CODE | {"size": [32, 24]}}],
            "entry 0, segmentation: the mask's size is [32, 24]",
        ),
        (
            [{"video_id": 1}],
            "images takes results in COCO's format, but these are in YouTube-VIS format: give other",
        ),
    ],
)
def test_the_first_fault_is_one_line(folder, capsys, entries, message):
    with pytest.raises(SystemExit) as end:
        main([str(write(folder, entries)), "--data", "images"])
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nix.json", "--data", "images"], "result file nix.json does not exist"),
        (["images.json"], "images.json are results: name their one dataset after --data"),
        (["x.json", "--data", "a", "b"], "one dataset after --data"),
        (["x.json", "--data", "vis", "--config-file", "c"], "which have no config"),
        (["r.json", "--data", "vis", "--frame-numbers", "1"], "r.json holds no numbers of frames"),
        (["m.pth", "--frame-numbers", "1"], "--frame-numbers is for results in text files"),
        (["tracks.json", "--data", "vis"], "must be a list of entries"),
        (
            ["r.json", "--data", "mots"],
            "takes results in MOTS' text files, but these are in YouTube",
        ),
        (
            ["o/inference/tracks", "--data", "vis"],
            "takes results in YouTube-VIS format or in COCO's",
        ),
        (["o/inference/tracks", "--data", "mots"], "these are in MOTChallenge's text files"),
        (["r.json", "--data", "mot17_val_half"], "mot17_val_half takes results in MOTChallenge's"),
        (["r.json", "--data", "kinetics400_val"], "takes results of models only"),
        (["o/inference/tracks", "--data", "tracks", "--output", "o"], "choose another --output"),
        (["kitti", "--data", "tracks"], "clip_a.txt is neither in MOTChallenge's format (columns"),
    ],
)
def test_mistakes_are_one_line(folder, capsys, words, message):
    (folder / "r.json").write_text('[{"video_id": 1}]')
    (folder / "o/inference/tracks").mkdir(parents=True)
    (folder / "kitti").mkdir()
    (folder / "kitti/clip_a.txt").write_text("0 1 Car 0 0 0 1 2 3 4 5 6 7 8 9 10 11 0.5")
    (folder / "o/inference/tracks/clip_a.txt").write_text("1,1,2,2,5,5,1,1,-1,-1")
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_what_is_a_model_and_what_are_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("run/log.txt", "run/model_final.pth", "config/config.yaml", "config/log.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "damaged.zip").touch()
    (tmp_path / "tracks").mkdir()
    (tmp_path / "tracks/a.txt").touch()
    for name, member in (("r.zip", "results.json"), ("t.zip", "a.txt"), ("m.zip", "m.pth")):
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr(member, "")
    models = ("run", "config", "m.zip", "m.pth", "DETR/detr_R50_500ep", "https://x.org/m.pth")
    for word in models:
        assert parse_args([word, "--data", "a"]).results == ""
    for word in ("r.json", "tracks", "r.zip", "t.zip", "damaged.zip", "tracks/a.txt"):
        assert parse_args([word, "--data", "a"]).results == word

"""tools/check_dataset.py: all faults of a data set, each with its file and place."""

import json
import shutil

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from d2video.cli import check as check_dataset
from d2video.data import (
    register_image_pairs,
    register_kinetics,
    register_video_folders,
    register_ytvis_instances,
)
from d2video.data.datasets.crowdhuman import register_crowdhuman
from d2video.data.datasets.mot import register_mot
from tests.helpers.coco_sets import (
    annotation,
    instance_content,
    polygon,
    register_instances,
    register_panoptic,
    write_images,
)
from tests.helpers.mot_folders import write_sequence
from tests.helpers.ytvis_content import HEIGHT, LENGTH, WIDTH, content
from tests.video.test_video_reader import write_mp4


@pytest.fixture
def names():
    """For registering data sets, which are forgotten afterwards."""
    before = [dict(catalog) for catalog in (DatasetCatalog, MetadataCatalog)]
    yield
    for catalog, entries in zip((DatasetCatalog, MetadataCatalog), before, strict=True):
        catalog.data = entries


@pytest.fixture
def check(capsys):
    """Run the tool: its exit status and the faults that it prints, of which the summary counts."""

    def run(*arguments, workers=0):
        status = 0
        try:
            check_dataset.main([*map(str, arguments), "--num-workers", str(workers)])
        except SystemExit as error:
            status = error.code
        printed = capsys.readouterr()
        if printed.err.startswith("error:"):
            return status, [printed.err]
        *found, summary = printed.out.splitlines()
        kinds = [line.partition(": ")[0] for line in found]
        assert f"{kinds.count('fault') or 'no'} fault" in summary
        assert ("doubt" in summary) == ("doubt" in kinds)
        assert status == int(not {*kinds} <= {"left out"})
        return status, found

    return run


def matches(faults, *parts):
    """Each fault holds its parts, in this order."""
    assert len(faults) == len(parts), faults
    for fault, wanted in zip(faults, parts, strict=True):
        for part in wanted:
            assert part in fault, fault


@pytest.fixture
def frames(tmp_path):
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        for t in range(LENGTH):
            pixels = np.random.default_rng(t).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{t:05d}.png")
    return tmp_path


def write(path, value):
    path.write_text(json.dumps(value))
    return path


@pytest.mark.parametrize("workers", [0, 2])
def test_sound_videos_and_broken_frames(check, frames, names, workers):
    path = write(frames / "a.json", content())
    register_ytvis_instances("checked", {}, str(path), str(frames))
    status, (crowd,) = check("--dataset", "checked", workers=workers)
    assert status == 0
    assert crowd.endswith("a.json: 2 of 3 tracks are used; left out: 1 with iscrowd 1")
    (frames / "first/00001.png").unlink()
    cut = frames / "first/00003.png"
    cut.write_bytes(cut.read_bytes()[:100])
    Image.new("RGB", (5, 5)).save(frames / "second/00000.png")
    status, faults = check("--dataset", "checked", workers=workers)
    assert status == 1
    matches(
        faults,
        ["left out: "],
        ["first/00001.png does not exist"],
        ["first/00003.png", "cannot read"],
        ["second/00000.png is 5x5 but its dataset says 32x24"],
    )


def test_all_faults_of_a_ytvis_file(check, frames):
    value = content()
    first, second, third = value["annotations"]
    first["bboxes"][2] = [50, 4, 8, 6]
    second["category_id"] = 77
    third["segmentations"][1] = {"size": [5, 5], "counts": "0T2"}
    degenerate = {**json.loads(json.dumps(content()["annotations"][0])), "id": 20}
    degenerate["bboxes"][4] = [3, 3, 0, 5]
    value["annotations"] += [degenerate, {**first, "id": 21, "video_id": 99}]
    value["videos"].append({**value["videos"][1], "id": 8, "file_names": ["../../etc/passwd"]})
    value["videos"][-1].pop("length")
    path = write(frames / "a.json", value)
    status, faults = check("--json", path, "--image-root", frames)
    assert status == 1
    matches(
        faults,
        ["a.json: annotation 12: its category 77 is not in the file"],
        ["a.json: annotation 13: segmentations, frame 1", "size"],
        ["a.json: annotation 21: its video 99 is not in the file"],
        [
            "a.json: 8 of 10 boxes are used",
            "1 whose box has no area (the mask's is used), 1 whose box lies outside the image",
        ],
        ["doubt: ", "a.json: 1 annotation is there twice"],
        ["a.json: video 8", "../../etc/passwd", "outside the image root"],
    )


def test_all_faults_of_a_coco_file(check, tmp_path):
    write_images(tmp_path)
    value = instance_content()
    path = write(tmp_path / "a.json", value)
    status, found = check("--json", path, "--image-root", tmp_path)
    assert status == 0
    matches(
        found, ["left out: ", "a.json: 3 of 4 annotations are used; left out: 1 with iscrowd 1"]
    )
    value["annotations"] += [
        annotation(7, 5, 55, [2, 4, 8, 6]),
        annotation(8, 9, 4, [2, 4, 8, 6], segmentation={"size": [9, 9], "counts": "0"}),
        annotation(9, 9, 4, [40, 4, 8, 6], segmentation=polygon(2, 4, 8, 6)),
        annotation(10, 9, 4, [2, 4, 8, 6], segmentation={"size": [2, 2], "counts": [1, 3]}),
    ]
    value["images"].append({"id": 6, "file_name": "/etc/passwd", "height": 5, "width": 5})
    value["images"].append({"id": 10, "file_name": "b.jpg", "height": 5, "width": 100_000_000})
    write(path, value)
    (tmp_path / "2.jpg").write_bytes(b"no image")
    status, faults = check("--json", path, "--image-root", tmp_path)
    assert status == 1
    matches(
        faults,
        ["a.json", "a.json: image 6", "/etc/passwd lies outside"],
        ["a.json", "a.json: image 10", "100000000x5"],
        ["a.json", "a.json: annotation 7", "category_id, 55"],
        ["a.json", "a.json: annotation 8"],
        ["a.json", "a.json: annotation 10", "size is [2, 2]"],
        ["left out: ", "a.json: 3 of 5 annotations are used", "1 whose box lies", "1 with iscrowd"],
        ["2.jpg", "cannot identify"],
    )


def test_all_lines_of_mot_labels(check, tmp_path, names):
    sound = [f"{t},1,3,4,8,9,1,1,1" for t in range(1, 7)]
    folder = write_sequence(tmp_path / "MOT17-02-FRCNN", gt=sound)
    register_mot("checked", str(tmp_path), benchmark="MOT17")
    assert check("--dataset", "checked") == (0, [])
    bad = [
        *sound,
        "2,1,3,4,8,9,1,1,1",
        "9,1,3,4,8,9,1,1,1",
        "1,7,3,4,-8,9,1,1,1",
        "1,8,x,4,8,9,1,1,1",
    ]
    (folder / "gt/gt.txt").write_text("\n".join(bad))
    status, faults = check("--dataset", "checked")
    assert status == 1
    assert sorted(fault.partition("gt.txt, line ")[2].split(":")[0] for fault in faults) == [
        *("10", "7", "8", "9")
    ]
    (folder / "gt/gt.txt").write_text("\n".join(sound))
    (folder / "img1/000004.png").write_bytes(b"")
    matches(check("--dataset", "checked")[1], ["000004.png", "cannot"])


def test_videos_and_lists_of_them(check, tmp_path, names):
    (tmp_path / "a").mkdir()
    frames = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 48, 64, 3))
    for k in range(3):
        write_mp4(tmp_path / f"a/{k}.mp4", frames)
    register_video_folders("checked", str(tmp_path))
    assert check("--dataset", "checked", workers=2) == (0, [])
    (tmp_path / "a/1.mp4").write_bytes(b"\0" * 1000)
    matches(check("--dataset", "checked")[1], ["a/1.mp4", "cannot read video"])
    listed = tmp_path / "list.csv"
    listed.write_text("a/0.mp4 0\na/9.mp4 0\n../x.mp4 1\na/2.mp4 cat\n")
    status, faults = check("--video-list", listed, "--video-root", tmp_path)
    assert status == 1
    matches(
        faults,
        ["list.csv, line 3", "outside video_root"],
        ["list.csv, line 4", "'cat' is not a whole number"],
        ["a/9.mp4", "cannot read video"],
    )


def test_all_lines_of_crowdhuman(check, tmp_path, names):
    write_images(tmp_path)
    person = {"tag": "person", "fbox": [1, 2, 3, 4]}
    lines = [
        {"ID": "5", "gtboxes": [person]},
        {"ID": "2"},
        {"ID": "9", "gtboxes": [{**person, "fbox": [1, 2, 3]}]},
        {"ID": "5", "gtboxes": []},
        {"ID": "../x", "gtboxes": []},
        {"ID": "9", "gtboxes": [person]},
    ]
    odgt = tmp_path / "a.odgt"
    odgt.write_text("\n".join(map(json.dumps, lines)))
    register_crowdhuman("checked", str(odgt), str(tmp_path))
    (tmp_path / "9.jpg").unlink()
    status, faults = check("--dataset", "checked")
    assert status == 1
    matches(
        faults,
        *(
            ["a.odgt, line 2"],
            ["a.odgt, line 3"],
            ["a.odgt, line 4"],
            ["a.odgt, line 5", "outside"],
        ),
        ["9.jpg", "does not exist"],
    )


def test_all_lines_of_kinetics(check, tmp_path, names):
    frames = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 48, 64, 3))
    write_mp4(tmp_path / "one_000001_000011.mp4", frames)
    lines = ["label,youtube_id,time_start,time_end,split", "run,one,1,11,val", "run,two,x,11,val"]
    lines += ["run,one,1,11,val", ",three,1,11,val", "", "run,../../four,1,11,val"]
    listed = tmp_path / "val.csv"
    listed.write_text("\n".join(lines))
    register_kinetics("checked", str(listed), str(tmp_path))
    status, faults = check("--dataset", "checked")
    assert status == 1
    wanted = [("3", "no number"), ("4", "the same video"), ("5", "no label"), ("7", "no name")]
    matches(faults, *([f"val.csv, line {number}", what] for number, what in wanted))
    listed.write_text("\n".join(lines[1:]))
    matches(check("--dataset", "checked")[1], ["val.csv, line 1", "no column youtube_id"])


def test_all_faults_of_a_panoptic_file(check, tmp_path, names):
    ids = np.ones((HEIGHT, WIDTH), dtype=int)
    sound = [{"id": 1, "category_id": 100}]
    labels = dict.fromkeys((5, 2, 9), (ids, sound))
    path = register_panoptic("checked", tmp_path, labels)
    write_images(tmp_path)
    assert check("--dataset", "checked") == (0, [])
    value = json.loads(path.read_text())
    first = value["annotations"][0]
    value["annotations"][1:1] = [
        {**first, "image_id": 7, "segments_info": [{"id": 1, "category_id": 55}]},
        {**first, "segments_info": []},
        {**first, "image_id": 8, "file_name": "../8.png"},
    ]
    write(path, value)
    (tmp_path / "2.png").write_bytes(b"no image")
    status, faults = check("--dataset", "checked")
    assert status == 1
    matches(
        faults,
        ["checked.json", "annotation of image 7", "category id 55"],
        ["checked.json", "annotation of image 5", "the image is there twice"],
        ["checked.json", "annotation of image 8", "outside"],
        ["2.png"],
    )


def test_folders_of_images_and_pairs(check, tmp_path, names):
    for folder, side in (("clean", 20), ("half", 10)):
        (tmp_path / folder).mkdir()
        for k in range(3):
            Image.new("RGB", (side, side)).save(tmp_path / folder / f"{k}.png")
    assert check("--image-folder", tmp_path) == (0, [])
    clean, half = str(tmp_path / "clean"), str(tmp_path / "half")
    register_image_pairs("checked", clean, half, "sr_x2", scale=2)
    assert check("--dataset", "checked") == (0, [])
    (tmp_path / "half/1.png").write_bytes((tmp_path / "half/1.png").read_bytes()[:45])
    matches(check("--image-folder", tmp_path)[1], ["half/1.png", "cannot read"])


def test_all_sequences_are_looked_at(check, tmp_path, names):
    """A set that only the command line registers; one broken sequence does not hide the others."""
    sound = [f"{t},1,3,4,8,9,1,1,1" for t in range(1, 7)]
    for name in "ABC":
        write_sequence(tmp_path / name, gt=sound)
    shutil.rmtree(tmp_path / "A/img1")
    (tmp_path / "B/seqinfo.ini").write_text("nonsense")
    (tmp_path / "C/gt/gt.txt").write_text("1,1,3,4,-8,9,1,1,1")
    entry = ["checked", "mot", {"root": str(tmp_path), "benchmark": "MOT17"}]
    status, faults = check("--dataset", "checked", "--opts", "DATASETS.REGISTER", str([entry]))
    assert status == 1
    for part in ("A has no images", "B/seqinfo.ini cannot be read", "C/gt/gt.txt, line 1"):
        assert sum(part in fault for fault in faults) == 1, faults


def test_a_registered_file_is_read_as_it_is_registered(check, tmp_path, names):
    """These keys alone look like a file of COCO instances."""
    ids = np.ones((HEIGHT, WIDTH), dtype=int)
    path = register_panoptic("checked", tmp_path, {5: (ids, [{"id": 1, "category_id": 100}])})
    write_images(tmp_path)
    assert check("--json", path) == (0, [])
    (tmp_path / "5.png").unlink()
    faults = check("--json", path, "--image-root", tmp_path)[1]
    assert faults
    assert all("5.png" in fault for fault in faults)
    status, (error,) = check("--json", path, "--image-root", tmp_path / "elsewhere")
    assert (status, "is registered as checked with images in" in error) == (1, True)
    copied = tmp_path / "copy.json"
    shutil.copy(path, copied)
    (fault,) = check("--json", copied, "--image-root", tmp_path)[1]
    assert "in COCO's panoptic format" in fault


def test_what_a_config_does_with_a_set(check, tmp_path, names):
    """Its mapper takes every record, and its evaluator is built."""
    write_images(tmp_path)
    value = instance_content()
    del value["annotations"][2]  # a crowd, which is left out
    register_instances("checked", tmp_path, value)
    assert check("--dataset", "checked") == (0, [])
    config = tmp_path / "config.yaml"
    config.write_text("DATASETS: {TRAIN: [checked]}\nINPUT: {DATASET_MAPPER: ClipDatasetMapper}\n")
    status, (fault,) = check("--config-file", config)
    assert (status, "choose ImageDatasetMapper" in fault) == (1, True)
    config.write_text("DATASETS: {TEST: [checked]}\nINPUT: {DATASET_MAPPER: ImageDatasetMapper}\n")
    assert check("--config-file", config) == (0, [])
    vars(MetadataCatalog.get("checked"))["evaluator_type"] = "nothing"
    status, (fault,) = check("--config-file", config)
    assert (status, "cannot be evaluated" in fault) == (1, True)


def test_mistakes_of_the_user(check, tmp_path):
    for arguments, message in (
        (["--dataset", "nothing"], "'nothing' is not registered"),
        (["--json", tmp_path / "a.json"], "a.json' is neither a registered dataset nor a path"),
        ([write(tmp_path / "b.json", []), "--image-root", "x"], "has no format of labels"),
        ([write(tmp_path / "c.json", instance_content())], "name the folder as image_root"),
        (["none.zip"], "'none.zip' is neither a registered dataset nor a path"),
        (["--data", "nothing.zip"], "'nothing.zip' is neither a registered dataset nor a path"),
        (["--video-list", tmp_path / "c.csv"], "c.csv does not exist"),
        (["--image-folder", tmp_path / "nothing"], "does not exist"),
    ):
        status, (error,) = check(*arguments)
        assert status == 1
        assert message in error
        assert "\n" not in error.strip()

"""Held-out parts: which records, what is written of them, and the command."""

import json

import numpy as np
import pytest

from d2video.cli import make_shapes, split
from d2video.data.datasets.by_path import path_entry
from d2video.data.datasets.coco import load_coco_instances, register_coco
from d2video.data.datasets.coco_tracks import load_coco_tracks
from d2video.data.datasets.mot import register_mot
from d2video.data.datasets.ytvis import load_ytvis_json, register_ytvis_instances
from d2video.data.export import write_part
from d2video.data.held_out import choose_held_out, divided_videos
from d2video.utils.errors import UserError
from tests.helpers.coco_sets import instance_content
from tests.helpers.mot_folders import write_sequence
from tests.helpers.true_sets import register_true
from tests.helpers.ytvis_content import content

pytestmark = pytest.mark.usefixtures("scratch_catalog")


def videos(*file_lists, classes=None):
    """Records of videos; ``classes`` are those of each one's tracks."""
    classes = classes or [[0]] * len(file_lists)
    return [
        {
            "file_names": [f"root/{name}" for name in names],
            "length": len(names),
            "annotations": [
                [{"id": k, "category_id": c} for k, c in enumerate(of_video)] for _ in names
            ],
        }
        for names, of_video in zip(file_lists, classes, strict=True)
    ]


def held_out(records, *arguments, **options):
    """The places of the records that are held out."""
    found = choose_held_out(records, *arguments, image_root="root", **options)
    return set(np.flatnonzero(found).tolist())


def test_seeded_choice_of_the_right_size():
    many = videos(*[[f"v{i}/0.jpg", f"v{i}/1.jpg"] for i in range(50)])
    chosen = [held_out(many, 0.2, seed) for seed in (0, 0, 1)]
    assert chosen[0] == {2, 3, 4, 18, 20, 23, 24, 26, 34, 36}  # as in earlier versions
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


def test_videos_of_one_folder_or_with_a_shared_frame_stay_together():
    many = videos(
        ["a/0.jpg", "a/1.jpg"],
        ["b/0.jpg"],
        ["a/2.jpg", "c/0.jpg"],
        ["d/0.jpg"],
        ["c/5.jpg"],
        ["top.jpg"],
        ["top.jpg", "other.jpg"],
        ["third.jpg"],
    )
    together = [{0, 2, 4}, {1}, {3}, {5, 6}, {7}]
    choices = [held_out(many, 0.3, seed) for seed in range(40)]
    for chosen in choices:
        assert 3 <= len(chosen) <= 5
        for group in together:
            assert not group & chosen or group <= chosen
    # The image root itself is no folder that relates videos 5, 6 and 7.
    assert any({7} <= chosen and not {5} & chosen for chosen in choices)
    assert set().union(*choices) == {*range(8)}


def images(*names):
    return [{"file_name": f"root/{name}", "annotations": []} for name in names]


@pytest.mark.parametrize(
    ("records", "together"),
    [
        # Of Roboflow: frames of a video, and augmented copies of an image.
        (
            images(
                "a/v_mp4-0012_jpg.rf.1f000000.jpg",
                "b/v_mp4-7_jpg.rf.20000000.jpg",
                "a/w_mp4-0_jpg.rf.30000000.jpg",
            ),
            {0, 1},
        ),
        (images(*(f"{n}_jpg.rf.{h}0000000.jpg" for n, h in ("x1", "y1", "x2"))), {0, 2}),
        # Images of one folder are not of one video.
        (images("a.mp4#frame=3", "a/1.jpg", "a/2.jpg", "a.mp4#frame=9"), {0, 3}),
        (videos(["a.mp4#frame=0"], ["b.mp4#frame=1"], ["a.mp4#frame=50"]), {0, 2}),
        (
            [
                {**each, "sequence": name}
                for name, each in zip(
                    ("MOT17-02-DPM", "MOT17-04-DPM", "MOT17-02-SDP"),
                    videos(["a/0"], ["b/0"], ["c/0"]),
                    strict=True,
                )
            ],
            {0, 2},
        ),
    ],
)
def test_what_else_is_the_same_footage(records, together):
    choices = [held_out(records, 0.3, seed) for seed in range(20)]
    assert all(not together & chosen or together <= chosen for chosen in choices)
    assert any(together <= chosen for chosen in choices)
    assert any(not together & chosen for chosen in choices)


def test_some_videos_always_remain_on_both_sides():
    for fraction in (0.001, 0.999):
        for balance in (False, True):
            two = videos(["a/0"], ["b/0"])
            assert len(held_out(two, fraction, 0, balance_classes=balance)) == 1


def test_nothing_to_split_by():
    with pytest.raises(UserError, match="nothing to split by"):
        held_out(videos(["a/0"], ["a/1"]), 0.5, 0)
    with pytest.raises(UserError, match="there is one video or image only"):
        held_out(videos(["a/0"]), 0.5, 0)


def test_frames_that_are_divided_are_named(tmp_path, capsys):
    def images(*names):
        return [{"file_name": f"{name}.jpg"} for name in names]

    frames = images("a/f_0010", "a/f_0015", "a/f_0020", "a/f_0030", "b/f_0025")
    found = divided_videos(frames, np.array([0, 1, 1, 0, 0], bool))
    assert found == [("a/f_0010.jpg", "a/f_0015.jpg")]
    assert divided_videos(frames, np.array([0, 0, 0, 1, 1], bool)) == []
    odd = images("139", "285", "632", "724", "776", "cat", "dog")
    assert divided_videos(odd, np.arange(7) % 2 == 0) == []
    file = instance_content()
    file["images"] = [{**file["images"][0], "id": k, "file_name": f"{k}.jpg"} for k in range(6)]
    file["annotations"] = []
    (tmp_path / "in.json").write_text(json.dumps(file))
    run(tmp_path, name=str(tmp_path / "in.json"))
    said = capsys.readouterr().out
    assert " of images with successive numbers, such as " in said
    assert "hold out whole videos instead" in said


@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_one_video_is_trained_on(seed):
    many = videos(*[[f"{k}/0"] for k in range(6)], classes=[*[[0]] * 5, [0, 1]])
    assert 5 not in held_out(many, 0.5, seed, balance_classes=True)


def test_classes_are_balanced():
    random = np.random.default_rng(0)
    # A frequent class, a rare one, and one of which a video has many.
    classes = [[0] * random.integers(1, 4) for _ in range(100)]
    for k in range(0, 100, 5):
        classes[k] += [1]
    for k in range(0, 100, 20):
        classes[k] += [2] * 8
    many = videos(*[[f"{i}/0.jpg"] for i in range(100)], classes=classes)
    total = np.bincount(np.concatenate(classes))
    shares = []
    for balance in (True, False):
        for seed in range(10):
            chosen = held_out(many, 0.2, seed, balance_classes=balance)
            shares.append(
                np.bincount(np.concatenate([classes[k] for k in chosen]), minlength=3) / total
            )
    np.testing.assert_allclose(shares[:10], 0.2, atol=0.02)
    assert np.abs(np.array(shares[10:]) - 0.2).max() > 0.1
    again = [held_out(many, 0.2, 3, balance_classes=True) for _ in range(2)]
    assert again[0] == again[1] != held_out(many, 0.2, 4, balance_classes=True)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, np.nan])
def test_fraction_out_of_range(fraction):
    with pytest.raises(UserError, match="--fraction"):
        split.parse_args(f"in --train-output a --held-out b --fraction {fraction}".split())


@pytest.mark.parametrize("tool", [split, make_shapes])
def test_seed_below_0(tool, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(["in", "--train-output", "a", "--held-out", "b", "--seed", "-1"])
    assert "--seed: must be at least 0, not -1" in capsys.readouterr().err


def test_one_part_in_the_other():
    with pytest.raises(UserError, match="or one is in the other"):
        split.parse_args(["in", "--train-output", "a", "--held-out", "a/b"])


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({**content(), "info": {"year": 2021}}))
    register_ytvis_instances("mine", {}, str(path), "frames")
    return path


def run(folder, *extra, name="mine", suffix=".json"):
    paths = folder / f"out/a{suffix}", folder / f"out/b{suffix}"
    outputs = ["--train-output", str(paths[0]), "--held-out", str(paths[1])]
    split.main([name, *outputs, "--fraction", "0.5", *extra])
    return paths


def test_both_files_load_and_share_nothing(source, capsys):
    train, held_out = run(source.parent)
    parts = [load_ytvis_json(str(path), "") for path in (train, held_out)]
    ids = [{record["video_id"] for record in part} for part in parts]
    assert not ids[0] & ids[1]
    assert ids[0] | ids[1] == {3, 7}
    tracks = [a for p in (train, held_out) for a in json.loads(p.read_text())["annotations"]]
    assert sorted(a["id"] for a in tracks) == [11, 12, 13]
    assert json.loads(train.read_text())["info"] == {"year": 2021}
    said = capsys.readouterr().out
    assert "1 video, 2 tracks of 2 classes" in said
    assert "doubt: classes missing in one part: four (" in said
    assert ", in one of all videos)" in said
    assert f'DATASETS.REGISTER \'[["a", "ytvis", {{"json_file": "{train}", "image_root"' in said


def test_paths_of_windows(tmp_path):
    value = json.dumps(content()).replace("/", "\\\\")
    (tmp_path / "in.json").write_text(value)
    paths = run(tmp_path, name=str(tmp_path / "in.json"))
    parts = [json.loads(path.read_text())["videos"] for path in paths]
    assert sorted(parts[0] + parts[1], key=lambda video: video["id"]) == sorted(
        json.loads(value)["videos"], key=lambda video: video["id"]
    )


def test_coco_stays_as_it_is(tmp_path):
    images = [
        {"id": k, "file_name": f"{k}.jpg", "height": 8, "width": 8, "license": 2} for k in range(4)
    ]
    objects = [
        {"id": k, "image_id": k, "category_id": 7, "bbox": [1, 1, 3, 3], "score": 0.5}
        for k in range(4)
    ]
    file = {"images": images, "annotations": objects, "categories": [{"id": 7, "name": "seven"}]}
    (tmp_path / "in.json").write_text(json.dumps(file))
    register_coco("mine", {}, str(tmp_path / "in.json"), "frames")
    parts = [json.loads(path.read_text()) for path in run(tmp_path)]
    for key in ("images", "annotations"):
        assert len(parts[0][key]) == 2
        both = parts[0][key] + parts[1][key]
        assert sorted(both, key=lambda each: each["id"]) == file[key]
    # The folder of images need not be given.
    (tmp_path / "images").mkdir()
    (tmp_path / "images/0.jpg").touch()
    register_coco("found", {}, str(tmp_path / "in.json"))
    again = [json.loads(path.read_text()) for path in run(tmp_path, name="found")]
    assert [each["images"] for each in again] == [each["images"] for each in parts]
    assert again[0]["image_root"] == "../images"
    # Into another format what the records hold.
    (tmp_path / "out").rename(tmp_path / "before")
    with pytest.raises(SystemExit):
        run(tmp_path, "--format", "mot")
    paths = run(tmp_path, "--format", "coco", "--balance-classes")
    assert sum(len(load_coco_instances(str(path), "")) for path in paths) == 4


def test_sequences_stay_as_they_are(tmp_path, capsys):
    for name in ("A", "B", "C"):
        lines = ["1,1,2,2,9,9,1,3,1", "2,1,2,2,9,9,1,7,1"]
        write_sequence(tmp_path / "sets" / name, gt=lines, det="1,-1,2,2,9,9,0.5")
    register_mot("mine", str(tmp_path / "sets"), benchmark="MOT17", classes={3: "cat"})
    train, held_out = run(tmp_path, suffix="")
    assert sorted(each.name for path in (train, held_out) for each in path.iterdir()) == [*"ABC"]
    (copy, *_) = held_out.iterdir()
    files = [path.relative_to(copy) for path in copy.rglob("*") if path.is_file()]
    assert len(files) == 9
    for path in files:
        assert (copy / path).read_bytes() == (tmp_path / "sets" / copy.name / path).read_bytes()
    assert '"benchmark": "MOT17", "classes": {3: "cat"}}]]' in capsys.readouterr().out
    # Halves of sequences are written anew.
    halves = {"classes": {3: "cat"}, "frame_range": (0, 0.5)}
    register_mot("half", str(tmp_path / "sets"), benchmark="MOT17", **halves)
    paths = run(tmp_path, name="half", suffix="_half")
    assert sorted(len([*path.rglob("*.png")]) for path in paths) == [3, 6]
    run(tmp_path, "--format", "coco", name="half")
    assert len(load_coco_tracks(str(tmp_path / "out/b.json"), "")) == 2


def test_parts_of_a_tools_labels_are_for_every_model(tmp_path, monkeypatch, capsys):
    register_true(monkeypatch, "mine", tmp_path / "frames")
    run(tmp_path)
    assert '[["a", "cocovid", {"root": ' in capsys.readouterr().out


def test_images_need_not_be_there(tmp_path, capsys):
    """Those of a file that says all of them; its parts are read where they are found later."""
    (tmp_path / "in.json").write_text(json.dumps(content()))
    train, _ = run(tmp_path, name=str(tmp_path / "in.json"))
    said = capsys.readouterr().out
    assert "doubt:" in said
    assert "its images do not exist (" in said
    first = json.loads(train.read_text())["videos"][0]["file_names"][0]
    image = tmp_path / "out/a/JPEGImages" / first
    with pytest.raises(UserError, match="name the folder as image_root"):
        path_entry(str(train))
    image.parent.mkdir(parents=True)
    image.touch()
    assert path_entry(str(train))[2]["image_root"] == str(tmp_path / "out/a/JPEGImages")


@pytest.mark.parametrize("suffix", [".json", ""])
def test_both_parts_appear_or_none(tmp_path, capsys, monkeypatch, suffix):
    """Old parts stay too, since a new one may hold videos of the other old one."""
    if suffix:
        (tmp_path / "in.json").write_text(json.dumps(content()))
        register_ytvis_instances("mine", {}, str(tmp_path / "in.json"), "frames")
        paths = run(tmp_path)
        before = [path.read_bytes() for path in paths]
    else:
        for name in ("A", "B"):
            write_sequence(tmp_path / "sets" / name, gt="1,1,2,2,9,9,1,1,1")
        register_mot("mine", str(tmp_path / "sets"), benchmark="MOT17")
    written = []

    def write_once(*arguments, **options):
        if written:
            raise UserError("the disk is full")
        written.append(write_part(*arguments, **options))
        return written[0]

    monkeypatch.setattr("d2video.data.export.write_part", write_once)
    with pytest.raises(SystemExit):
        run(tmp_path, "--seed", "1", suffix=suffix)
    assert len(written) == 1
    assert capsys.readouterr().err == "error: the disk is full\n"
    if suffix:
        assert [path.read_bytes() for path in paths] == before
    assert [*(tmp_path / "out").iterdir()] == (sorted(paths) if suffix else [])


@pytest.mark.parametrize("fault", ["unlabelled", "no file", "in place"])
def test_faults_leave_nothing_behind(source, capsys, fault):
    extra = []
    if fault == "unlabelled":
        source.write_text(json.dumps({**content(), "annotations": None}))
    if fault == "no file":
        source.unlink()
    if fault == "in place":
        extra = ["--held-out", str(source)]
    with pytest.raises(SystemExit) as caught:
        run(source.parent, *extra)
    assert caught.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (source.parent / "out").exists()

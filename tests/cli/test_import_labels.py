"""``d2video import-labels``: any labels into a standard format, which d2video reads back at once."""

import json
import shlex
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.cli.import_labels import main
from d2video.config import load_cfg
from d2video.data.datasets.by_path import register_path
from d2video.data.datasets.coco_tracks import register_coco_tracks
from d2video.data.datasets.ytvis import load_ytvis_json
from d2video.data.export import coco_content
from d2video.data.loading import load_records
from d2video.video.frame_names import frame_name
from tests.data.test_export import comparable, records
from tests.helpers.mot_folders import write_sequence
from tests.helpers.true_labels import CLASSES
from tests.helpers.true_sets import register_true

pytestmark = pytest.mark.usefixtures("scratch_catalog")


@pytest.fixture
def source(tmp_path):
    """The true labels as COCO's JSON of tracks, which DATASETS.REGISTER names."""
    content = coco_content(records(tmp_path / "frames"), CLASSES, image_root=str(tmp_path))
    (tmp_path / "in.json").write_text(json.dumps(content))
    register_coco_tracks("mine", str(tmp_path / "in.json"), str(tmp_path))
    return tmp_path


def registered(printed):
    """The records of what the last line that was printed registers, and their classes."""
    words = shlex.split(printed.splitlines()[-1])
    load_cfg("", words)
    name = json.loads(words[1].partition(",")[0][2:])
    return load_records(name), MetadataCatalog.get(name).thing_classes


@pytest.mark.parametrize(
    ("format", "output", "kept"),
    [
        ("coco", "out.json", {}),
        ("mot", "out", {"masks": False, "ignored": False}),
        ("mots", "out", {"visibility": False, "ignored": False}),
    ],
)
def test_what_is_written_is_registered_by_the_last_line(source, capsys, format, output, kept):
    main(["mine", str(source / output), "--format", format])
    read, names = registered(capsys.readouterr().out)
    assert names == [*CLASSES]
    wanted = sorted(load_records("mine"), key=lambda record: record["sequence"])
    read = sorted(read, key=lambda record: record["sequence"])
    wanted = [comparable(each, **kept) for each in wanted]
    assert [comparable(each, **kept) for each in read] == wanted
    # And by its path alone.
    name = register_path(str(source / output))
    read = sorted(load_records(name), key=lambda record: record["sequence"])
    assert MetadataCatalog.get(name).thing_classes == [*CLASSES]
    assert [comparable(each, **kept) for each in read] == wanted


@pytest.mark.parametrize("format", ["mot", "mots"])
def test_names_that_are_no_lines_and_no_folders(tmp_path, capsys, format):
    given = records(tmp_path / "frames")
    given[0]["sequence"], given[1]["sequence"] = "../a\0\nb", "c\\d"
    content = coco_content(given, ["7", " Katze,\r\nschwarz", "\ud800犬"], image_root=str(tmp_path))
    (tmp_path / "in.json").write_text(json.dumps(content))
    main([str(tmp_path / "in.json"), str(tmp_path / "out"), "--format", format])
    said = capsys.readouterr().out
    assert "doubt: " in said
    assert "names of classes are changed so that each fits into a line of text: ' Katze" in said
    _, names = registered(said)
    assert names == ["7", "Katze, schwarz", "?犬"]
    name = register_path(str(tmp_path / "out"))
    found = load_records(name)
    assert MetadataCatalog.get(name).thing_classes == names
    assert [record["sequence"] for record in found] == ["_a__b", "c_d"]
    content["categories"][1]["name"] = "7 "
    (tmp_path / "alike.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit):
        main([str(tmp_path / "alike.json"), str(tmp_path / "other"), "--format", format])
    assert (
        "the class '7 ' cannot be written as a line of text: rename it" in capsys.readouterr().err
    )


def test_what_a_format_cannot_hold_is_printed(source, capsys):
    main(["mine", str(source / "out"), "--format", "mot", "--no-images"])
    said = capsys.readouterr().out.splitlines()
    assert said[-4:-1] == [
        "doubt: mine: of 2 videos the frame rate is unknown: 25 a second is written; if it is another "
        "one, correct seqinfo.ini",
        "left out: mine: 0 of 20 masks are written; left out: 20 of objects that are written as boxes",
        f"{source / 'out'}: 2 videos, 4 tracks of 2 classes",
    ]
    assert not [*(source / "out").rglob("img1")]


def test_labels_at_a_path(source, capsys):
    out = source / "new" / "labels.json"
    main([str(source / "in.json"), str(out), "--format", "youtube-vis"])
    content = json.loads(out.read_text())
    # Names are relative to the folder of the file or, if not all are in it, of all frames.
    assert content["videos"][0]["file_names"][0] == "clip_b/00000.png"
    read, _ = registered(capsys.readouterr().out)
    assert all(Path(name).is_file() for each in read for name in each["file_names"])
    assert load_records(register_path(str(out))) == read  # it says where its images are
    main(
        [str(source / "in.json"), str(out), "--format", "youtube-vis", "--image-root", str(source)]
    )
    content = json.loads(out.read_text())
    assert content["videos"][0]["file_names"][0] == "frames/clip_b/00000.png"


def test_frames_of_video_files_are_doubted(tmp_path, capsys):
    given = records(tmp_path, as_video=True)
    DatasetCatalog.register("mine", lambda: given)
    MetadataCatalog.get("mine").set(thing_classes=[*CLASSES], evaluator_type="labels")
    main(["mine", str(tmp_path / "out.json"), "--format", "youtube-vis"])
    assert ": 13 of its frames are those of video files" in capsys.readouterr().out
    read = load_ytvis_json(str(tmp_path / "out.json"), str(tmp_path))
    assert read[1]["file_names"][3] == frame_name(str(tmp_path / "clip_a.mp4"), 3)
    # They are found at a path as well.
    for format in ("coco", "youtube-vis"):
        main([str(tmp_path / "out.json"), str(tmp_path / f"{format}.json"), "--format", format])
        main([str(tmp_path / f"{format}.json"), str(tmp_path / "last.json"), "--format", "coco"])


def test_frames_in_the_cache_are_doubted(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    given = records(tmp_path / "cache" / "zip")
    DatasetCatalog.register("mine", lambda: given)
    MetadataCatalog.get("mine").set(thing_classes=[*CLASSES], evaluator_type="labels")
    main(["mine", str(tmp_path / "out.json"), "--format", "youtube-vis"])
    assert ": 13 of its frames are in the cache, unpacked from" in capsys.readouterr().out


def test_nothing_is_written_among_the_labels(tmp_path, monkeypatch, capsys):
    """A folder with another file in it may be read as something else."""
    register_true(monkeypatch, "mine", tmp_path / "in")
    with pytest.raises(SystemExit):
        main(["mine", str(tmp_path / "in" / "out.json"), "--format", "coco"])
    assert "out.json is part of the input: choose another output" in capsys.readouterr().err


def test_the_frame_rate_is_kept(tmp_path, capsys):
    write_sequence(tmp_path / "in" / "a", gt=["1,1,2,2,9,9,1,1,1"])
    main([str(tmp_path / "in"), str(tmp_path / "out"), "--format", "mot"])
    assert "frame rate" not in capsys.readouterr().out
    assert "frameRate=30\n" in (tmp_path / "out/a/seqinfo.ini").read_text()


def test_images_that_could_be_videos_say_how(tmp_path, monkeypatch, capsys):
    register_true(monkeypatch, "mine", tmp_path / "frames", tracked=False)
    words = ["mine", str(tmp_path / "out"), "--format"]
    with pytest.raises(SystemExit):
        main([*words, "mot"])
    assert "is a set of images, and mot holds videos: write it as coco" in capsys.readouterr().err
    MetadataCatalog.get("mine").set(track_advice='set tracks to "order"')
    with pytest.raises(SystemExit):
        main([*words, "youtube-vis"])
    said = capsys.readouterr().err
    assert 'youtube-vis holds videos: set tracks to "order", or write it as coco' in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mine", "in.json", "--format", "coco"], "in.json is part of the input: choose another"),
        (["mine", "frames", "--format", "mot"], "frames: it exists; give a new or empty folder"),
        (["mine", "frames", "--format", "coco"], "it is a folder; give a file name"),
        (["min", "out", "--format", "mot"], "'min' is not registered: did you mean mine?"),
        (["in.json", "o", "--format", "mot", "--opts", "nix", "1"], "nix"),
        (
            ["mine", "o", "--format", "mot", "--opts", "classes", "1"],
            "mine is a registered dataset",
        ),
        (["in.json", "o", "--format", "mot", "--input-format", "nix"], "'nix' is not a format"),
        (
            ["in.json", "o", "--format", "coco", "--image-root", "frames/clip_a"],
            "in.json: its images do not exist (frames/clip_a/frames/clip_b/00000.png): give their folder",
        ),
    ],
)
def test_mistakes_are_one_line(source, monkeypatch, capsys, words, message):
    monkeypatch.chdir(source)
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (source / "out").exists()

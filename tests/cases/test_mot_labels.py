"""``mot/*.txt`` and their kind: check, training and evaluation use the same rows and count the others."""

import shutil

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.cli.dataset_check import check_registered
from d2video.config import get_cfg
from d2video.data import build_train_loader
from d2video.data.datasets.from_config import register_datasets
from d2video.data.datasets.mot import register_mot
from d2video.data.loading import load_records
from d2video.evaluation import build_evaluator
from d2video.formats.faults import Doubt, Fault, LeftOut
from d2video.utils.errors import UserError
from tests.helpers.mot_folders import evaluate_results, write_sequence
from tests.helpers.perfect_answers import perfect_answers
from tests.helpers.verdicts import check_agrees

pytestmark = pytest.mark.usefixtures("scratch_catalog", "loggers_as_before")

NAME = "own_labels"


@pytest.fixture
def with_labels(pictures, tmp_path):
    """A function that registers a generated sequence with the labels of a file, and gives its folder."""

    def register(gt_file, **arguments):
        folder = tmp_path / "sets" / "seq"
        shutil.copytree(pictures / "shapes_mot" / "val" / "val-0001", folder)
        shutil.copyfile(gt_file, folder / "gt" / "gt.txt")
        register_mot(NAME, str(folder.parent), benchmark="MOT17", **arguments)
        return folder

    return register


def findings(kind, name=NAME):
    return [str(each) for each in check_registered(name).findings if isinstance(each, kind)]


def objects(records):
    return [o for r in records for frame in r["annotations"] for o in frame]


def score(tmp_path):
    records = load_records(NAME)
    evaluator = build_evaluator(NAME, str(tmp_path / "results"))
    evaluator.process(*perfect_answers(NAME, records))
    return evaluator.evaluate()["mot"]


def test_labels_of_which_no_row_counts(with_labels, inputs, tmp_path, capsys):
    folder = with_labels(inputs / "mot" / "gt_class_0.txt")
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = (NAME,)
    cfg.INPUT.DATASET_MAPPER = "FramePairMapper"
    told = f"dataset {NAME}: 0 of 12 boxes are used; left out: 12 of class 0; classes=["
    for read in (lambda: build_train_loader(cfg), lambda: build_evaluator(NAME, str(tmp_path))):
        with pytest.raises(UserError) as caught:
            read()
        assert str(caught.value).startswith(told)
    assert findings(Fault)[0].startswith(told)
    results = tmp_path / "results"
    results.mkdir()
    lines = (folder / "gt" / "gt.txt").read_text().split()
    (results / "seq.txt").write_text("\n".join(",".join(e.split(",")[:7]) for e in lines))
    with pytest.raises(SystemExit):
        evaluate_results(results, folder.parent)
    assert "0 of 12 boxes are used; left out: 12 of class 0" in capsys.readouterr().err
    # The argument that keeps them.
    evaluate_results(results, folder.parent, classes=[0])
    assert "| COMBINED   | 100.00 |" in capsys.readouterr().out
    DatasetCatalog.remove(NAME)
    MetadataCatalog.pop(NAME)
    register_mot(NAME, str(folder.parent), benchmark="MOT17", classes={0: "shape"})
    check_agrees(NAME)
    assert len(objects(load_records(NAME))) == 12
    assert MetadataCatalog.get(NAME).thing_classes == ["shape"]


def test_flags_other_than_0_count_everywhere(with_labels, inputs, tmp_path):
    with_labels(inputs / "mot" / "gt_flag_-1.txt")
    assert findings(object) == []
    assert len(objects(load_records(NAME))) == 12
    assert score(tmp_path)["HOTA"] == 100


def test_rows_of_another_class_are_counted(with_labels, inputs, tmp_path, caplog):
    with_labels(inputs / "mot" / "gt_half_class_3.txt")
    (told,) = findings(LeftOut)
    assert told.startswith(
        f"dataset {NAME}: 6 of 12 boxes are used; left out: 6 of class 3; classes=["
    )
    assert findings(Fault) == []
    mot = score(tmp_path)
    assert (mot["HOTA"], mot["FN"]) == (100, 0)
    assert told in caplog.text  # of the loader and of the evaluator, the same


def test_rows_without_a_class(with_labels, inputs, tmp_path, capsys):
    rows = (inputs / "mot" / "gt_class_0.txt").read_text().replace(",1,0,1\n", ",1,-1,-1\n")
    (tmp_path / "gt.txt").write_text(rows)
    folder = with_labels(tmp_path / "gt.txt", classes={-1: "shape"})
    assert findings(object) == []
    assert len(objects(load_records(NAME))) == 12
    assert score(tmp_path)["HOTA"] == 100
    evaluate_results(tmp_path / "results", folder.parent, classes=[-1])
    assert "| COMBINED   | 100.00 |" in capsys.readouterr().out


def test_a_class_where_mot15_has_a_coordinate(with_labels, inputs, tmp_path):
    """As VisDrone's files, of which nothing else tells."""
    rows = (inputs / "mot" / "gt_class_0.txt").read_text().replace(",1,0,1\n", ",1,4,0,1\n")
    (tmp_path / "gt.txt").write_text(rows)
    with_labels(tmp_path / "gt.txt")
    (doubt,) = findings(Doubt)
    assert (
        "gt.txt: column 8 holds whole numbers (4, ...), but of 10 columns it is MOT15's x" in doubt
    )


@pytest.mark.parametrize("cls", [1, 3])
def test_masks_of_another_class(pictures, tmp_path, cls):
    folder = tmp_path / "sets" / "seq"
    shutil.copytree(pictures / "shapes_mots" / "val" / "val-0001", folder)
    lines = [line.split() for line in (folder / "gt" / "gt.txt").read_text().splitlines()]
    text = "\n".join(" ".join([*line[:2], str(cls), *line[3:]]) for line in lines)
    (folder / "gt" / "gt.txt").write_text(text)
    register_mot(NAME, str(folder.parent), benchmark="MOTS20")
    what = " (car)" if cls == 1 else ""
    told = f"dataset {NAME}: 0 of {len(lines)} masks are used; left out: {len(lines)} of class {cls}{what};"
    assert findings(Fault)[0].startswith(told)
    for read in (load_records, lambda name: build_evaluator(name, str(tmp_path))):
        with pytest.raises(UserError) as caught:
            read(NAME)
        assert str(caught.value).startswith(told)
    DatasetCatalog.remove(NAME)
    MetadataCatalog.pop(NAME)
    register_mot(NAME, str(folder.parent), benchmark="MOTS20", classes=[cls])
    check_agrees(NAME)
    assert score(tmp_path)["sMOTSA"] == 100


def test_several_classes(with_labels, inputs, tmp_path):
    with_labels(inputs / "mot" / "gt_half_class_3.txt", classes={3: "car", 1: "walker"})
    (doubt,) = findings(object)
    assert doubt.startswith(f"dataset {NAME}: 2 tracks of several classes (such as track 1 of seq)")
    assert MetadataCatalog.get(NAME).thing_classes == ["car", "walker"]
    found = [each["category_id"] for each in objects(load_records(NAME))]
    assert (found.count(0), found.count(1)) == (6, 6)
    mot = score(tmp_path)
    assert mot["HOTA-car"] == mot["HOTA-walker"] == 100
    lines = (tmp_path / "results" / "seq.txt").read_text().splitlines()
    assert {line.split(",")[7] for line in lines} == {"1", "3"}


GT = [
    "1,1,1,1,9,9,1,1,1",
    "1,2,12,1,9,9,0,1,1",
    "2,1,1,1,9,9,1,1,0.0",
    "3,1,1,1,9,9,1,2,1",
    "3,2,12,1,9,9,1,3,1",
    "4,2,12,1,9,9,1,2,0.25",
    "5,2,0,0,0,0,1,2,1",
]


def test_each_reason_is_counted_over_all_sequences(tmp_path, caplog):
    for name in ("A", "B"):
        write_sequence(tmp_path / name, gt=GT)
    register_mot(NAME, str(tmp_path), benchmark="MOT17")
    assert findings(LeftOut) == [
        f"dataset {NAME}: 2 of 14 boxes are used; left out: 6 of class 2, 2 of class 3, 2 of "
        "visibility 0.25 or less, which evaluation counts, 2 with flag 0; classes=[...] chooses the "
        "classes; with_flag_0 keeps those with flag 0 where classes are given; min_visibility=None keeps "
        "those of any visibility",
    ]
    # The evaluator's, which counts all visibilities.
    assert f"dataset {NAME}: 4 of 14 boxes are used; left out: 6 of class 2, 2 of" in caplog.text


def test_own_classes_have_one_rule_for_training_and_evaluation(tmp_path):
    write_sequence(tmp_path / "A", gt=GT)
    choices = [
        ({}, [2, 2, 1]),
        ({"with_flag_0": True}, [3, 2, 1]),
        ({"min_visibility": 0.1}, [1, 2, 1]),
    ]
    for options, counts in choices:
        register_mot(NAME, str(tmp_path), benchmark="MOT17", classes=[1, 2, 3], **options)
        found = [each["category_id"] for each in objects(load_records(NAME))]
        assert [found.count(k) for k in range(3)] == counts
        (told,) = findings(LeftOut)  # the same of training and of evaluation
        assert f"{sum(counts)} of 7 boxes" in told
        assert "1 whose box is 0 wide or 0 high" in told
        check_agrees(NAME)
        DatasetCatalog.remove(NAME)
        MetadataCatalog.pop(NAME)


def cvat_export(folder):
    """As CVAT's MOT 1.1: no seqinfo.ini, names of labels, lines that end in CRLF."""
    write_sequence(folder, gt="")
    (folder / "seqinfo.ini").unlink()
    for path in sorted((folder / "img1").iterdir()):
        path.rename(path.with_name(f"frame_{int(path.stem) - 1:06d}.PNG"))
    rows = ["1,1,2.5,3.0,8.0,7.25,1,2,1.0", "2,1,3.5,3.0,8.0,7.25,1,2,0.0", "2,2,9,9,4,4,1,1,1.0"]
    (folder / "gt" / "gt.txt").write_bytes("\r\n".join(rows).encode())
    (folder / "gt" / "labels.txt").write_bytes(b"person\ndog\nbird")


def test_classes_by_the_names_of_cvat(tmp_path, capsys):
    cvat_export(tmp_path / "task_1")
    arguments = {"root": str(tmp_path), "benchmark": "MOT17", "classes": ["dog", "bird"]}
    register_datasets([[NAME, "mot", arguments]])
    assert MetadataCatalog.get(NAME).thing_classes == ["dog", "bird"]
    assert [each["category_id"] for each in objects(load_records(NAME))] == [0, 0]
    told = "2 of 3 boxes are used; left out: 1 of class 1 (person)"
    assert told in findings(LeftOut)[0]
    check_agrees(NAME)
    results = tmp_path / "results"
    results.mkdir()
    (results / "task_1.txt").write_text(
        "1,1,2.5,3.0,8.0,7.25,1,2,-1,-1\n2,1,3.5,3.0,8.0,7.25,1,2,-1,-1\n"
    )
    cvat = {"format": "mot", "sequences": ["task_1"]}
    evaluate_results(results, tmp_path, **cvat, classes=["dog", "bird"])
    assert "100.00" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        evaluate_results(results, tmp_path, **cvat, classes=["cat"])
    assert "'cat' is not in the gt/labels.txt, which has person, dog" in capsys.readouterr().err


def test_names_beside_the_labels_that_are_not_what_is_read(tmp_path):
    cvat_export(tmp_path / "task_1")
    (tmp_path / "task_1" / "gt" / "labels.txt").write_text("dog\nperson\n")
    register_mot(NAME, str(tmp_path), benchmark="MOT17")
    assert "labels.txt: class 1 is 'dog': choose by name, classes=['dog', ...]" in "".join(
        findings(Doubt)
    )
    cvat_export(tmp_path / "task_2")
    register_mot(f"{NAME}_2", str(tmp_path), benchmark="MOT17", classes={2: "one"})
    assert "class 2 is 'person' and 'dog' beside " in "".join(findings(Doubt, f"{NAME}_2"))


def test_a_name_of_two_numbers(tmp_path, caplog):
    cvat_export(tmp_path / "task_1")
    cvat_export(tmp_path / "task_2")
    (tmp_path / "task_2" / "gt" / "labels.txt").write_text("dog\nperson\nbird")
    register_mot(NAME, str(tmp_path), benchmark="MOT17", classes=["bird", "dog"])
    (doubt,) = {*findings(Doubt)}
    assert "task_1/gt/labels.txt: 'dog' is class 2, and 1 beside " in doubt
    assert "read and written with 2" in doubt
    build_evaluator(NAME, str(tmp_path))
    assert doubt in caplog.text
    register_mot(f"{NAME}_1", str(tmp_path), benchmark="MOT17", classes=["dog"])
    assert findings(Doubt, f"{NAME}_1") == []  # files of results hold no classes


def test_a_visibility_that_is_none(with_labels, inputs, tmp_path):
    rows = (inputs / "mot" / "gt_class_0.txt").read_text().replace(",1,0,1\n", ",1,1,-1\n")
    (tmp_path / "gt.txt").write_text(rows)
    folder = with_labels(tmp_path / "gt.txt")
    doubt, _ = findings(Doubt)  # and that nothing is annotated
    assert "column 9 holds -1 or the like in 12 of 12 rows, which is not a visibility" in doubt
    root = str(folder.parent)
    register_mot(f"{NAME}_1", root, benchmark="MOT17", min_visibility=None)
    assert findings(object, f"{NAME}_1") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": []}, "classes is .*: give numbers, names of gt/labels.txt, or"),
        ({"classes": "car"}, "classes is 'car': give numbers"),
        ({"classes": [True]}, "give numbers"),
        ({"classes": {"1": "a"}}, "'1' is text: write the number 1 without quotes"),
        ({"classes": {1: " "}}, "give each number a name"),
        ({"class_name": ""}, "class_name is empty: give one"),
        ({"classes": [1.5]}, "give numbers"),
        ({"classes": [1, 1]}, "one is there twice"),
        ({"classes": {1: "a", 2: "a"}}, "one is there twice"),
        ({"classes": [1], "class_name": "cat"}, "class_name and classes are given"),
        ({"with_flag_0": True}, "with_flag_0 contradicts the benchmark's rules: give classes too"),
        ({"classes": [1], "benchmark": "MOT15"}, "files of MOT15 hold no classes"),
        ({"classes": [10], "benchmark": "MOTS20"}, "10 is MOTS20's regions to ignore"),
    ],
)
def test_choices_that_contradict(arguments, message):
    with pytest.raises(UserError, match=f"dataset {NAME}: .*{message}"):
        register_mot(NAME, "no/folder", **{"benchmark": "MOT17", **arguments})


def test_labels_that_are_named_and_missing(tmp_path):
    write_sequence(tmp_path / "A", gt=GT)
    register_mot(NAME, str(tmp_path), benchmark="MOT17", classes=["car"])
    with pytest.raises(
        UserError, match="'car' is not in the gt/labels.txt, which is missing: give"
    ):
        load_records(NAME)


def test_faults_of_all_sequences_are_found(tmp_path):
    for name in ("A", "B", "C"):
        write_sequence(tmp_path / name, gt=GT)
    (tmp_path / "A" / "img1" / "000002.png").unlink()
    (tmp_path / "B" / "gt" / "gt.txt").write_bytes(b"\xff\xfe\x00")
    register_mot(NAME, str(tmp_path), benchmark="MOT17")
    first, second = findings(Fault)
    assert "A/seqinfo.ini says 6 frames but" in first
    assert "B/gt/gt.txt is not a text file" in second


def test_folders_that_are_no_sequences_are_passed_over(tmp_path):
    write_sequence(tmp_path / "A", gt=GT)
    (tmp_path / "seqmaps").mkdir()
    (tmp_path / "seqmaps" / "train.txt").touch()
    register_mot(NAME, str(tmp_path), benchmark="MOT17", exclude=["seqmaps"])
    assert [record["sequence"] for record in load_records(NAME)] == ["A"]
    register_mot(f"{NAME}_1", str(tmp_path), benchmark="MOT17", sequences=["*"])
    assert [record["sequence"] for record in load_records(f"{NAME}_1")] == ["A"]
    register_mot(f"{NAME}_2", str(tmp_path), benchmark="MOT17", sequences=["A", "seqmaps"])
    with pytest.raises(
        UserError, match="seqmaps is not a sequence: it has neither images nor labels"
    ):
        load_records(f"{NAME}_2")


@pytest.mark.parametrize("first", [0, 1, 5])
def test_frames_keep_their_numbers_in_results(tmp_path, capsys, first):
    folder = write_sequence(tmp_path / "sets" / "A", gt="")
    (folder / "img1").rename(folder / "before")
    (folder / "img1").mkdir()
    numbers = range(first, first + 18, 3)
    for number, path in zip(numbers, sorted((folder / "before").iterdir()), strict=True):
        path.rename(folder / "img1" / f"{number:06d}.png")
    (folder / "before").rmdir()
    rows = [f"{number},7,{number + 1},3,8,8,1,1,1" for number in numbers]
    (folder / "gt" / "gt.txt").write_text("\n".join(rows))
    root, results = str(tmp_path / "sets"), tmp_path / "results"
    register_mot(NAME, root, benchmark="MOT17")
    (record,) = load_records(NAME)
    assert record["frame_numbers"] == tuple(numbers)
    assert [len(frame) for frame in record["annotations"]] == [1] * 6
    assert score(tmp_path)["HOTA"] == 100
    written = (results / "A.txt").read_text().splitlines()
    assert [int(line.split(",")[0]) for line in written] == [*numbers]
    evaluate_results(results, root)
    assert "100.00" in capsys.readouterr().out
    # A part of it begins with the number of the whole.
    register_mot(f"{NAME}_half", root, benchmark="MOT17", frame_range=(0.5, 1))
    (half,) = load_records(f"{NAME}_half")
    assert half["frame_numbers"] == tuple(numbers[3:])
    (results / "A.txt").write_text("\n".join(written[:3]).replace("-1,-1,-1", "-1"))
    shifted = [line.split(",") for line in written[3:]]
    lines = [",".join([str(numbers[k]), *line[1:7]]) for k, line in enumerate(shifted)]
    (results / "A.txt").write_text("\n".join(lines))
    evaluate_results(results, root, frame_range=(0.5, 1))
    assert "100.00" in capsys.readouterr().out


def test_a_near_miss_of_a_data_set_to_score(tmp_path, capsys):
    (tmp_path / "A.txt").touch()
    with pytest.raises(SystemExit, match="1"):
        evaluate_results(tmp_path, "mot17_trian")
    assert "'mot17_trian' is not registered: did you mean mot17_train" in capsys.readouterr().err

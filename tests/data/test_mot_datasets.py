import pickle

import numpy as np
import pycocotools.mask as coco_mask
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

import d2video.data  # noqa: F401  registers the datasets
from d2video.config import get_cfg
from d2video.data import build_train_loader
from d2video.data.datasets.builtin import register_tracking
from d2video.data.datasets.mot import load_mot, register_mot
from d2video.data.datasets.mot_split import find_sequences, read_sequences
from d2video.data.frame_annotations import FrameAnnotations
from d2video.data.records import track_classes
from d2video.formats.mot_rules import object_rule
from d2video.formats.mot_sequence import MOTSequence
from d2video.utils.errors import UserError
from tests.helpers.mot_folders import SIZE, write_sequence

GROUND_TRUTH = [
    "1,5,1,1,10,8,1,1,1",
    "2,5,2.5,1,10,8,1,1,0.25",  # not visible enough
    "3,5,-3,1,10,8,1,1,0.26",  # overflows the image
    "3,4,7,6,5,4,1,1,1",
    "3,6,7,6,5,4,0,1,1",  # not to be considered
    "3,7,7,6,5,4,1,3,1",  # a car
    "6,4,9,6,5,4,1,1,1",
]


@pytest.fixture
def mot17(tmp_path):
    """Two sequences of 6 and 5 frames and other sizes, in the three copies of MOT17."""
    root = tmp_path / "train"
    for detector in ("SDP", "DPM", "FRCNN"):
        det = ["6,-1,3,3,4,5,0.5", "1,-1,1,2,3,4,-0.5", "1,-1,5,6,7,8,1.5"]
        # Made in the opposite order of their names.
        write_sequence(root / f"S-11-{detector}", length=5, size=(40, 30), gt="", det="")
        write_sequence(root / f"S-02-{detector}", gt=GROUND_TRUTH, det="\n".join(det))
    (root / ".cache").mkdir()
    (root / "readme.txt").touch()
    return str(root)


def names(root, **choice):
    return [path.rpartition("/")[2] for path in find_sequences(root, **choice)]


def plain(annotations):
    return [[(a["id"], a["bbox"]) for a in frame] for frame in annotations]


def load(sequences, benchmark="MOT17", public_detections=False, **choice):
    rule = object_rule(benchmark, **choice)
    return load_mot(sequences, rule, "here", public_detections=public_detections)


def test_sequences_are_chosen_by_detector_name_and_pattern(mot17):
    assert names(mot17) == [f"S-{n}-{d}" for n in ("02", "11") for d in ("DPM", "FRCNN", "SDP")]
    assert names(mot17, detector="FRCNN") == ["S-02-FRCNN", "S-11-FRCNN"]
    assert names(mot17, detector="SDP", sequences=["S-11"]) == ["S-11-SDP"]
    assert names(mot17, sequences=["S-11-*", "S-02-DPM"], exclude=["*-SDP"]) == [
        "S-02-DPM",
        "S-11-DPM",
        "S-11-FRCNN",
    ]
    # Cross-validation that leaves one out.
    assert names(mot17, detector="FRCNN", exclude=["S-02"]) == ["S-11-FRCNN"]


def test_choices_that_leave_nothing(mot17, tmp_path):
    (tmp_path / "empty").mkdir()
    for choice, message in (
        (
            {"root": str(tmp_path / "no")},
            "no does not exist: set DETECTRON2_DATASETS .* img1/000001",
        ),
        ({"root": str(tmp_path / "empty")}, "holds no sequence .expected a folder for each"),
        ({"root": f"{mot17}/S-02-DPM"}, "is itself a sequence"),
        ({"root": mot17, "detector": "YOLO"}, "whose name ends in -YOLO"),
        ({"root": mot17, "sequences": ["S-03"]}, "called 'S-03'; choose of S-02-DPM, S-02-FRCNN"),
        ({"root": mot17, "exclude": ["S-03"]}, "called 'S-03'"),
        ({"root": mot17, "exclude": ["*"]}, "is left"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            find_sequences(**choice)
        assert "\n" not in str(caught.value)


def test_records_follow_the_contract(mot17):
    first, second = load(read_sequences(mot17, detector="FRCNN"))
    assert (first["video_id"], second["video_id"]) == (1, 2)
    assert (first["sequence"], second["sequence"]) == ("S-02-FRCNN", "S-11-FRCNN")
    assert (first["height"], first["width"], first["length"]) == (*SIZE, 6)
    assert (second["height"], second["width"], second["length"]) == (40, 30, 5)
    assert first["frame_numbers"] == range(1, 7)
    assert first["file_names"][2] == f"{mot17}/S-02-FRCNN/img1/000003.png"
    assert first["annotations"][0] == [
        {
            "id": 5,
            "category_id": 0,
            "iscrowd": 0,
            "bbox": [0.0, 0.0, 10.0, 8.0],
            "bbox_mode": BoxMode.XYWH_ABS,
            "visibility": 1.0,
        }
    ]
    assert plain(first["annotations"]) == [
        [(5, [0, 0, 10, 8])],
        [],
        [(5, [-4, 0, 10, 8]), (4, [6, 5, 5, 4])],
        [],
        [],
        [(4, [8, 5, 5, 4])],
    ]
    assert plain(second["annotations"]) == [[]] * 5
    assert "public_detections" not in first
    assert track_classes(first["annotations"]) == {4: 0, 5: 0}


def test_all_visibilities(mot17):
    split = read_sequences(mot17, detector="FRCNN")
    record = load(split, min_visibility=None)[0]
    assert plain(record["annotations"])[:2] == [[(5, [0, 0, 10, 8])], [(5, [1.5, 0, 10, 8])]]


def test_mot15_has_no_classes(tmp_path):
    gt = ["1,1,1,1,4,4,1,-1,-1,-1", "1,2,1,1,4,4,0,-1,-1,-1"]
    write_sequence(tmp_path / "A", gt=gt)
    record = load(read_sequences(str(tmp_path)), benchmark="MOT15")[0]
    assert plain(record["annotations"])[0] == [(1, [0, 0, 4, 4])]


def test_public_detections(mot17):
    split = read_sequences(mot17, sequences=["S-02-DPM", "S-11-DPM"])
    first, second = load(split, public_detections=True)
    assert [d.tolist() for d in first["public_detections"]] == [
        [[0, 1, 3, 5, -0.5], [4, 5, 11, 13, 1.5]],
        *[[]] * 4,
        [[2, 2, 6, 7, 0.5]],
    ]
    assert [d.shape for d in second["public_detections"]] == [(0, 5)] * 5
    assert {d.dtype for r in (first, second) for d in r["public_detections"]} == {
        np.dtype(np.float32)
    }


def test_missing_detections_are_named(tmp_path):
    write_sequence(tmp_path / "A", gt=GROUND_TRUTH)
    with pytest.raises(UserError, match="A/det/det.txt does not exist"):
        load(read_sequences(str(tmp_path)), public_detections=True)


def test_halves_share_no_frame_and_leave_none_out(mot17):
    halves = [
        read_sequences(mot17, detector="DPM", frame_range=part) for part in ((0, 0.5), (0.5, 1))
    ]
    assert [[(s.first, s.num_frames) for s in half] for half in halves] == [
        [(0, 3), (0, 2)],
        [(3, 3), (2, 3)],
    ]
    records = [load(half, public_detections=True)[0] for half in halves]
    assert [r["frame_numbers"] for r in records] == [range(1, 4), range(4, 7)]
    assert [r["length"] for r in records] == [3, 3]
    assert records[1]["file_names"][0].endswith("000004.png")
    assert plain(records[0]["annotations"])[2] == [(5, [-4, 0, 10, 8]), (4, [6, 5, 5, 4])]
    assert plain(records[1]["annotations"]) == [[], [], [(4, [8, 5, 5, 4])]]
    assert [len(d) for d in records[0]["public_detections"]] == [2, 0, 0]
    assert [len(d) for d in records[1]["public_detections"]] == [0, 0, 1]


def test_part_of_a_sequence_is_not_rounded_below_what_is_asked_for(tmp_path):
    write_sequence(tmp_path / "A", length=100)
    (sequence,) = read_sequences(str(tmp_path), frame_range=(0.0, 0.29))
    assert sequence.num_frames == 29


@pytest.mark.parametrize("frame_range", [(0.5, 0.5), (0.6, 0.2), (-0.1, 1), (0, 1.1)])
def test_range_that_is_none(frame_range, scratch_catalog):
    with pytest.raises(UserError, match="frame_range is"):
        register_mot("x_mot", "no/folder", benchmark="MOT17", frame_range=frame_range)


def test_range_without_frames(tmp_path):
    write_sequence(tmp_path / "A", length=3)
    with pytest.raises(UserError, match="A has 3 frames, none of which"):
        read_sequences(str(tmp_path), frame_range=(0.0, 0.3))


def test_split_without_ground_truth_has_no_annotations(tmp_path):
    write_sequence(tmp_path / "A", gt=None)
    (sequence,) = read_sequences(str(tmp_path))
    assert sequence.gt_file is None
    assert "annotations" not in load([sequence])[0]
    assert "annotations" not in load([sequence], "MOTS20")[0]


def test_one_sequence_without_its_ground_truth(tmp_path):
    write_sequence(tmp_path / "A")
    write_sequence(tmp_path / "B", gt=None)
    with pytest.raises(UserError, match=r"B/gt/gt.txt does not exist, but other sequences"):
        read_sequences(str(tmp_path))


def rle(top, left, height, width):
    mask = np.zeros(SIZE, dtype=np.uint8, order="F")
    mask[top : top + height, left : left + width] = 1
    return coco_mask.encode(mask)


@pytest.fixture
def mots(tmp_path):
    rows = [
        (1, 2001, 2, rle(3, 4, 5, 6)),
        (1, 10000, 10, rle(0, 0, 2, 30)),
        (1, 1001, 1, rle(20, 0, 2, 3)),
        (2, 2002, 2, rle(0, 0, 0, 0)),  # nothing of it is to be seen
        (3, 2002, 2, rle(10, 12, 4, 2)),
    ]
    lines = [
        f"{f} {i} {c} {m['size'][0]} {m['size'][1]} {m['counts'].decode()}" for f, i, c, m in rows
    ]
    write_sequence(tmp_path / "train" / "A", gt=lines)
    write_sequence(tmp_path / "train" / "B", gt="", size=(10, 12))
    return str(tmp_path / "train")


def test_masks_of_pedestrians_are_annotations(mots):
    record, empty = load(read_sequences(mots), "MOTS20")
    frames = record["annotations"]
    assert plain(frames) == [[(2001, [4, 3, 6, 5])], [], [(2002, [12, 10, 2, 4])], [], [], []]
    assert np.array_equal(
        coco_mask.decode(frames[2][0]["segmentation"]), coco_mask.decode(rle(10, 12, 4, 2))
    )
    assert "visibility" not in frames[0][0]
    assert plain(empty["annotations"]) == [[]] * 6
    half = load(read_sequences(mots, frame_range=(0.3, 1)), "MOTS20")[0]
    assert (half["frame_numbers"], half["length"]) == (range(2, 7), 5)
    assert plain(half["annotations"])[1] == [(2002, [12, 10, 2, 4])]


def test_masks_of_another_size_than_the_sequence(mots):
    path = f"{mots}/A/seqinfo.ini"
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(text.replace("imWidth=32", "imWidth=64"))
    with pytest.raises(UserError, match="is 32x24, but the sequence's seqinfo.ini says 64x24"):
        load(read_sequences(mots), "MOTS20")


def test_registered_set_is_read_on_first_use(mot17, scratch_catalog):
    register_mot("x_mot", "no/folder", benchmark="MOT17")
    with pytest.raises(UserError, match="no/folder does not exist"):
        DatasetCatalog.get("x_mot")
    register_mot(
        "x_half",
        mot17,
        benchmark="MOT17",
        detector="FRCNN",
        frame_range=(0.5, 1.0),
        min_visibility=0.9,
        public_detections=True,
        class_name="walker",
    )
    record = DatasetCatalog.get("x_half")[0]
    assert record["frame_numbers"] == range(4, 7)
    assert "public_detections" in record
    meta = MetadataCatalog.get("x_half")
    assert (meta.evaluator_type, meta.benchmark) == ("mot", "MOT17")
    assert (MetadataCatalog.get("x_mot").public_detections, meta.public_detections) == (False, True)
    assert meta.thing_classes == ["walker"]
    assert meta.get("json_file") is None
    first, second = meta.mot_sequences()
    assert first == MOTSequence(
        name="S-02-FRCNN",
        folder=f"{mot17}/S-02-FRCNN",
        gt_file=f"{mot17}/S-02-FRCNN/gt/gt.txt",
        images=tuple(f"{mot17}/S-02-FRCNN/img1/{t:06d}.png" for t in range(1, 7)),
        frame_numbers=range(1, 7),
        first=3,
        num_frames=3,
        size=SIZE,
        frame_rate=30.0,
    )
    assert second.frame_numbers == range(1, 6)


def test_benchmark_decides_on_classes_and_masks(tmp_path, mots, scratch_catalog):
    register_mot("x_mots", mots, benchmark="MOTS20")
    assert MetadataCatalog.get("x_mots").evaluator_type == "mots"
    assert "segmentation" in DatasetCatalog.get("x_mots")[0]["annotations"][0][0]
    write_sequence(tmp_path / "mot15" / "A", gt="1,1,1,1,4,4,2,-1,-1,-1")
    register_mot("x_mot15", str(tmp_path / "mot15"), benchmark="MOT15")
    assert plain(DatasetCatalog.get("x_mot15")[0]["annotations"])[0] == [(1, [0, 0, 4, 4])]
    with pytest.raises(UserError, match="benchmark is 'MOT18': choose one of MOT15, MOT16"):
        register_mot("x", mots, benchmark="MOT18")
    with pytest.raises(UserError, match="as lists of names"):
        register_mot("x", mots, benchmark="MOT17", sequences="A")


def test_builtin_names(mot17, tmp_path, scratch_catalog):
    for name in list(DatasetCatalog):
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name, None)
    (tmp_path / "MOT17").mkdir()
    (tmp_path / "train").rename(tmp_path / "MOT17" / "train")
    write_sequence(tmp_path / "shapes_mots" / "val" / "A", gt=None)
    register_tracking(str(tmp_path))
    records = {
        name: DatasetCatalog.get(f"mot17_{name}")
        for name in ("train", "train_half", "val_half", "train_public")
    }
    assert [len(found) for found in records.values()] == [2, 2, 2, 6]
    assert records["train"][0]["sequence"] == "S-02-FRCNN"
    assert [records[half][0]["length"] for half in ("train_half", "val_half")] == [3, 3]
    assert "public_detections" in records["train_public"][0]
    assert DatasetCatalog.get("shapes_mots_val")[0]["sequence"] == "A"
    assert MetadataCatalog.get("shapes_mots_val").thing_classes == ["shape"]
    expected = {
        *("mot15_train", "mot15_test", "mot17_test", "mot17_test_public", "mot20_train"),
        *("mot20_val_half", "mot20_test", "mots20_train", "mots20_test", "dancetrack_train"),
        *("dancetrack_val", "dancetrack_test", "crowdhuman_train", "crowdhuman_val"),
        *("shapes_mot_train", "shapes_mot_val", "shapes_mots_train"),
    }
    assert expected <= set(DatasetCatalog)


def test_importing_the_package_registers(scratch_catalog):
    assert MetadataCatalog.get("mot17_val_half").evaluator_type == "mot"
    assert MetadataCatalog.get("mots20_train").evaluator_type == "mots"


def test_frame_annotations_are_a_sequence_of_lists():
    frame = np.array([2, 0, 2])
    columns = {"id": np.array([1, 2, 3]), "bbox": np.arange(12).reshape(3, 4)}
    found = FrameAnnotations(4, frame, columns)
    assert [[a["id"] for a in f] for f in found] == [[2], [], [1, 3], []]
    assert (len(found), found[-2], found[2:]) == (4, found[2], [found[2], []])
    for t in (4, -5):
        with pytest.raises(IndexError):
            found[t]
    again = pickle.loads(pickle.dumps(found))
    assert [*again] == [*found]


def test_training_loader_takes_the_records(mot17, scratch_catalog):
    # Its own steps: labels are found, videos without objects go, samples are counted.
    register_mot("x_train", mot17, benchmark="MOT17", detector="FRCNN")
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = ("x_train",)
    cfg.INPUT.DATASET_MAPPER = "ClipDatasetMapper"
    cfg.INPUT.EPOCH_UNIT = "frame"
    assert build_train_loader(cfg).loader.epoch_length == 6
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    assert build_train_loader(cfg).loader.epoch_length == 11

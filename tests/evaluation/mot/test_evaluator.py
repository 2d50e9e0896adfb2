"""The tracking evaluator as detectron2 drives it."""

import json
import logging
import sys
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances

from d2video.data.datasets.mot import register_mot
from d2video.data.datasets.mot_split import read_sequences
from d2video.evaluation import EVALUATOR_REGISTRY, MOTEvaluator, build_evaluator
from d2video.evaluation.mot.ground_truth import MOTGroundTruth
from d2video.formats.geometry.rle import encode_masks
from d2video.formats.mot_rules import object_rule
from d2video.utils.errors import UserError
from tests.helpers.fresh_process import run_in_group
from tests.helpers.mot_folders import evaluate_results
from tests.helpers.mot_sets import GOLDEN, golden_answers, golden_truth, write_golden

SIZE = (12, 16)


def _check_golden(results: dict, benchmark: str = "MOT17") -> None:
    expected = GOLDEN["expected"][benchmark]["COMBINED_SEQ"]
    assert list(results) == ["mot"]
    mot = results["mot"]
    for name in ("HOTA", "DetA", "AssA", "LocA"):
        values = expected["HOTA"][name]
        assert mot[name] == pytest.approx(100 * sum(values) / len(values), abs=1e-9), name
    for name in ("MOTA", "MOTP"):
        assert mot[name] == pytest.approx(100 * expected["CLEAR"][name], abs=1e-9)
    for name in ("IDF1", "IDP", "IDR"):
        assert mot[name] == pytest.approx(100 * expected["Identity"][name], abs=1e-9)
    for name in ("IDSW", "MT", "PT", "ML", "Frag"):
        assert mot[name] == expected["CLEAR"][name]
    assert (mot["FP"], mot["FN"]) == (expected["CLEAR"]["CLR_FP"], expected["CLEAR"]["CLR_FN"])


@pytest.mark.parametrize("benchmark", ["MOT17", "MOT20", "MOT15"])
def test_golden_sequences_through_the_evaluator(tmp_path, benchmark, caplog):
    write_golden(tmp_path)
    inputs, outputs = golden_answers(tmp_path)
    output = tmp_path / "output"
    evaluator = MOTEvaluator(golden_truth(tmp_path, benchmark), str(output))
    for given, answer in zip(inputs, outputs):
        evaluator.process([given], [answer])
    # The distributed sampler repeats sequences; the first answer stays.
    nothing = [frame[:0] for frame in outputs[0]["frames"]]
    evaluator.process(inputs[:1], [{**outputs[0], "frames": nothing}])
    with caplog.at_level(logging.INFO):
        _check_golden(evaluator.evaluate(), benchmark)
    assert "no answer" not in caplog.text
    assert "| COMBINED" in caplog.text

    written = json.loads((output / "results.json").read_text())
    expected = GOLDEN["expected"][benchmark]
    assert written["benchmark"] == benchmark
    assert list(written["sequences"]) == list(GOLDEN["sequences"])
    for name, entry in written["sequences"].items():
        assert entry["details"]["HOTA"]["HOTA"] == pytest.approx(expected[name]["HOTA"]["HOTA"])
        assert entry["summary"]["IDSW"] == expected[name]["CLEAR"]["IDSW"]
    assert written["combined"]["details"]["Count"] == expected["COMBINED_SEQ"]["Count"]
    # The files give the same numbers.
    assert sorted(p.name for p in output.iterdir() if p.suffix == ".txt") == [
        f"{name}.txt" for name in GOLDEN["sequences"]
    ]
    truth = golden_truth(tmp_path, benchmark)
    read_again = truth.read_results(output)
    for name in truth.sequences:
        (again,) = truth.compare(name, read_again[name]).values()
        again = again["HOTA"]["HOTA"].tolist()
        assert again == written["sequences"][name]["details"]["HOTA"]["HOTA"]

    evaluator.reset()
    assert evaluator.evaluate()["mot"]["FP"] == 0  # nothing was found


def test_sequences_without_an_answer_count_as_missed(tmp_path, caplog):
    write_golden(tmp_path)
    inputs, outputs = golden_answers(tmp_path)
    evaluator = MOTEvaluator(golden_truth(tmp_path), str(tmp_path / "output"))
    evaluator.process(inputs[1:], outputs[1:])
    mot = evaluator.evaluate()["mot"]
    assert "1 of 6 sequences have no answer (the first is sequence SYN-01)" in caplog.text
    assert (tmp_path / "output" / "SYN-01.txt").read_text() == ""
    expected = GOLDEN["expected"]["MOT17"]
    missed = expected["SYN-01"]["Count"]["GT_Dets"] - expected["SYN-01"]["CLEAR"]["CLR_FN"]
    assert mot["FN"] == expected["COMBINED_SEQ"]["CLEAR"]["CLR_FN"] + missed


def _evaluate_in_two_processes(folder: str) -> None:
    root = Path(folder)
    inputs, outputs = golden_answers(root)
    rank = torch.distributed.get_rank()
    evaluator = MOTEvaluator(golden_truth(root), str(root / "output"))
    # Sequence 0 goes to both, as with a sampler that pads.
    mine = [0, *range(1 + rank, len(inputs), 2)][:: 1 if rank else -1]
    evaluator.process([inputs[i] for i in mine], [outputs[i] for i in mine])
    results = evaluator.evaluate()
    if rank == 0:
        _check_golden(results)
        (root / "passed").write_text(json.dumps(results))
    else:
        assert results == {}


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    write_golden(tmp_path)
    run_in_group(_evaluate_in_two_processes, str(tmp_path))
    inputs, outputs = golden_answers(tmp_path)
    alone = MOTEvaluator(golden_truth(tmp_path), str(tmp_path / "alone"))
    alone.process(inputs, outputs)
    # To the last bit, whoever had which sequence.
    assert json.loads((tmp_path / "passed").read_text()) == alone.evaluate()
    for path in (tmp_path / "output").iterdir():
        assert path.read_text() == (tmp_path / "alone" / path.name).read_text()


def _write_sequence(root: Path, name: str, length: int, gt: str | None) -> None:
    folder = root / name
    (folder / "gt").mkdir(parents=True)
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={name}\nimDir=img1\nframeRate=30\nseqLength={length}\n"
        f"imWidth={SIZE[1]}\nimHeight={SIZE[0]}\nimExt=.jpg\n"
    )
    if gt is not None:
        (folder / "gt" / "gt.txt").write_text(gt)


def _frame(*boxes, ids=None, **fields) -> Instances:
    return Instances(
        SIZE,
        pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        scores=torch.ones(len(boxes)),
        pred_classes=torch.zeros(len(boxes), dtype=torch.int64),
        track_ids=torch.arange(len(boxes)) if ids is None else torch.tensor(ids),
        **fields,
    )


@pytest.fixture
def dataset(tmp_path):
    """Registers a data set of this test's folder; removed at the end."""
    names = []

    def register(**options) -> str:
        names.append(f"mot_evaluator_test_{tmp_path.name}_{len(names)}")
        register_mot(names[-1], str(tmp_path / "gt"), **options)
        return names[-1]

    yield register
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


# A pedestrian that moves right by a pixel a frame, 1-based.
WALK = "".join(f"{t},7,{t},1,4,8,1,1,1\n" for t in range(1, 7))


def test_a_part_of_a_sequence_has_its_own_count_of_frames(tmp_path, dataset):
    _write_sequence(tmp_path / "gt", "A", 6, WALK)
    name = dataset(benchmark="MOT17", frame_range=(0.5, 1.0))
    evaluator = build_evaluator(name, str(tmp_path / "output"))
    assert isinstance(evaluator, MOTEvaluator)
    frames = [_frame((x, 0, x + 4, 8)) for x in (3, 4, 5)]
    evaluator.process([{"sequence": "A"}], [{"image_size": SIZE, "frames": frames}])
    mot = evaluator.evaluate()["mot"]
    assert mot["HOTA"] == mot["MOTA"] == mot["IDF1"] == 100.0
    assert (tmp_path / "output" / "A.txt").read_text().startswith("1,1,4.000,1.000,4.000,8.000,")
    with pytest.raises(UserError, match="A: 6 frames, the sequence has 3"):
        build_evaluator(name, str(tmp_path)).process(
            [{"sequence": "A"}], [{"image_size": SIZE, "frames": frames * 2}]
        )


def test_test_splits_only_get_their_files(tmp_path, dataset, caplog):
    _write_sequence(tmp_path / "gt", "A", 1, None)
    evaluator = build_evaluator(dataset(benchmark="MOT20"), str(tmp_path / "output"))
    answer = {"image_size": SIZE, "frames": [_frame((0, 0, 4, 8))]}
    evaluator.process([{"sequence": "A"}], [answer])
    with caplog.at_level(logging.INFO):
        assert evaluator.evaluate() == {}
    assert "has no labels: nothing is scored" in caplog.text
    assert len((tmp_path / "output" / "A.txt").read_text().splitlines()) == 1
    assert not (tmp_path / "output" / "results.json").exists()


def _rle(x0: int, x1: int, size=SIZE) -> dict:
    mask = torch.zeros(1, *size, dtype=torch.bool)
    mask[0, :, x0:x1] = True
    return encode_masks(mask)[0]


def _mots_line(frame: int, track: int, cls: int, rle: dict) -> str:
    return f"{frame} {track} {cls} {SIZE[0]} {SIZE[1]} {rle['counts'].decode()}\n"


def test_masks(tmp_path, dataset):
    region = _mots_line(1, 10000, 10, _rle(10, 16))
    gt = "".join(_mots_line(t, 2001, 2, _rle(0, 4)) for t in (1, 2)) + region
    _write_sequence(tmp_path / "gt", "A", 2, gt)
    name = dataset(benchmark="MOTS20")
    assert MetadataCatalog.get(name).evaluator_type == "mots"
    evaluator = build_evaluator(name, str(tmp_path / "output"))
    boxes = [(0, 0, 1, 1)] * 2  # of no effect
    frames = [
        _frame(*boxes, pred_rles=[_rle(0, 4), _rle(8, 16)]),  # the second is mostly ignored
        _frame(*boxes, pred_rles=[_rle(0, 3), _rle(8, 16)]),  # here it is not
    ]
    evaluator.process([{"sequence": "A"}], [{"image_size": SIZE, "frames": frames}])
    mot = evaluator.evaluate()["mot"]
    assert next(iter(mot)) == "sMOTSA"
    assert mot["sMOTSA"] == pytest.approx(100 * (1 + 0.75 - 1) / 2)
    assert mot["MOTA"] == pytest.approx(50)
    assert (mot["FP"], mot["FN"], mot["IDSW"], mot["MT"]) == (1, 0, 0, 1)
    lines = (tmp_path / "output" / "A.txt").read_text()
    assert lines.splitlines(keepends=True)[0] == _mots_line(1, 1, 2, _rle(0, 4))

    evaluator = build_evaluator(name, str(tmp_path / "output"))
    wrong = [_frame((0, 0, 1, 1), pred_rles=[_rle(0, 4, (16, 12))]), _frame()]
    with pytest.raises(UserError, match=r"A, frame 1: a mask's size is \[16, 12\]"):
        evaluator.process([{"sequence": "A"}], [{"image_size": SIZE, "frames": wrong}])
    with pytest.raises(UserError, match="answer to sequence A, the model predicts no masks"):
        evaluator.process(
            [{"sequence": "A"}], [{"image_size": SIZE, "frames": [_frame(*boxes), _frame()]}]
        )


def _answer(**fields) -> dict:
    return {"image_size": SIZE, "frames": [_frame((0, 0, 4, 8)), _frame()], **fields}


def _with(frame: Instances, **fields) -> Instances:
    for key, value in fields.items():
        frame.set(key, value)
    return frame


@pytest.mark.parametrize(
    ("sequence", "answer", "message"),
    [
        ("B", _answer(), "sequence B is not in dataset mot_evaluator_test"),
        (
            "A",
            _answer(image_size=(16, 12)),
            r"A: image_size is \[16, 12\], the sequence's \[12, 16",
        ),
        ("A", _answer(frames=[_frame()]), "A: 1 frames, the sequence has 2"),
        (
            "A",
            _answer(frames=[_frame(), _with(_frame((0, 0, 1, 1)), pred_classes=torch.tensor([3]))]),
            "A, frame 2: class 3",
        ),
        ("A", _answer(frames=[_frame(), _frame((0, 0, float("nan"), 1))]), "A, frame 2: box"),
        ("A", _answer(frames=[_frame(*[(0, 0, 1, 1)] * 2, ids=[4, 4]), _frame()]), "track id 4 is"),
    ],
)
def test_wrong_answers_are_errors(tmp_path, dataset, sequence, answer, message):
    _write_sequence(tmp_path / "gt", "A", 2, "1,7,1,1,4,8,1,1,1\n")
    evaluator = build_evaluator(dataset(benchmark="MOT17"), str(tmp_path))
    with pytest.raises(UserError, match=message):
        evaluator.process([{"sequence": sequence}], [answer])


def test_models_and_mappers_of_another_kind(tmp_path, dataset):
    _write_sequence(tmp_path / "gt", "A", 2, "1,7,1,1,4,8,1,1,1\n")
    name = dataset(benchmark="MOT17")
    evaluator = build_evaluator(name, str(tmp_path))
    with pytest.raises(UserError, match=f"{name}: the model does not answer with tracks"):
        evaluator.process([{"sequence": "A"}], [{"image_size": (12, 16), "pred_masks": []}])
    with pytest.raises(UserError, match=f"{name}: the test mapper .*INPUT.DATASET_MAPPER"):
        evaluator.process([{"video_id": 1}], [_answer()])


def test_datasets_that_cannot_be_evaluated(tmp_path, dataset, monkeypatch):
    assert {"mot", "mots"} <= EVALUATOR_REGISTRY.keys()
    MetadataCatalog.get("mot_without_sequences").set(evaluator_type="mot", benchmark="MOT17")
    with pytest.raises(UserError, match="mot_without_sequences has no mot_sequences"):
        build_evaluator("mot_without_sequences", str(tmp_path))
    MetadataCatalog.remove("mot_without_sequences")
    _write_sequence(tmp_path / "gt", "A", 6, WALK)
    sequences = read_sequences(str(tmp_path / "gt"))
    with pytest.raises(UserError, match="here: sequences have the same name"):
        MOTGroundTruth.read("here", object_rule("MOT17"), sequences * 2)
    monkeypatch.setitem(sys.modules, "trackeval", None)
    monkeypatch.setitem(sys.modules, "trackeval.datasets", None)
    with pytest.raises(UserError, match="pip install"):
        build_evaluator(dataset(benchmark="MOT17"), str(tmp_path))


@pytest.mark.usefixtures("scratch_catalog", "loggers_as_before")
def test_files_of_any_tracker_are_scored(tmp_path, dataset, capsys):
    write_golden(tmp_path)
    results, truth = tmp_path / "results", tmp_path / "gt"
    evaluate_results(results, dataset(benchmark="MOT17"))
    by_name = capsys.readouterr().out
    evaluate_results(results, truth)
    assert _table(capsys.readouterr().out) == _table(by_name)
    assert "1136 boxes in 182 frames of 6 sequences" in by_name
    assert "| COMBINED" in by_name
    assert "43.96" in by_name

    evaluate_results(results, truth, benchmark="MOT15", sequences=["SYN-0[12]"])
    assert "of 2 sequences" in capsys.readouterr().out
    with (results / "SYN-02.txt").open("a") as file:
        file.write("99,1,1,1,1,1,1,-1,-1,-1\n")
    for data, options, message in (
        (truth, {}, "SYN-02.txt, line 248: frame 99 is not among"),
        (truth, {"frame_range": (1, 0)}, "frame_range"),
        ("no_such", {}, "dataset 'no_such' is not registered"),
        (truth, {"benchmark": "MOT99"}, "choose one of MOT15"),
        (truth, {"nix": 1}, "nix"),
    ):
        with pytest.raises(SystemExit, match="1"):
            evaluate_results(results, data, **options)
        assert message in capsys.readouterr().err
    (results / "SYN-01.txt").unlink()
    with pytest.raises(SystemExit, match="1"):
        evaluate_results(results, truth)
    assert "results/SYN-01.txt are missing" in capsys.readouterr().err


def _table(log):
    return [line for line in log.splitlines() if line.startswith("|")]


@pytest.mark.usefixtures("scratch_catalog", "loggers_as_before")
def test_files_of_test_splits_are_only_checked(tmp_path, capsys):
    _write_sequence(tmp_path / "gt", "A", 1, None)
    (tmp_path / "A.txt").write_text(_mots_line(1, 1, 2, _rle(0, 4)))
    evaluate_results(tmp_path, tmp_path / "gt", format="mot", benchmark="MOTS20")
    out = capsys.readouterr().out
    assert "is sound: 1 masks in 1 frames of 1 sequences" in out
    assert "has no labels: nothing is scored" in out

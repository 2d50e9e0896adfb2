"""Detections of single frames become tracks, linked by overlap, and are scored."""

import json

import pytest
import torch
from d2video.projects.trackformer.iou_baseline import detect, evaluate
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.structures import Boxes, Instances
from torch import nn

from d2video.config import load_cfg
from d2video.data import build_test_loader
from d2video.data.datasets.mot import register_mot
from d2video.projects import register_all
from d2video.synthetic import ShapesSpec, write_mot_shapes
from d2video.utils.errors import UserError
from tests.helpers.true_sets import register_true
from tests.projects.TrackFormer.tiny import build, tiny_cfg

NAME = "link_detections_test"
LENGTH = 6


@META_ARCH_REGISTRY.register()
class StubDetector(nn.Module):
    """Answers the frames of the test set in their order: the objects with score 0.45, and in each
    frame something of score 0.35 that is none, at a place of its own."""

    def __init__(self, cfg) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        records = DatasetCatalog.get(cfg.DATASETS.TEST[0]) if cfg.DATASETS.TEST else []
        self.frames = iter(
            [(t, labels) for r in records for t, labels in enumerate(r["annotations"])]
        )

    def forward(self, batched_inputs):
        assert not self.training
        assert not torch.is_grad_enabled()
        (item,) = batched_inputs
        assert item["image"].shape == (3, 24, 32)  # resized as in testing
        t, labels = next(self.frames)
        boxes = torch.tensor([label["bbox"] for label in labels] + [[8.0 * t, -60, 6, 50]])
        boxes[:, 2:] += boxes[:, :2]
        count = len(boxes)
        found = Instances(
            (item["height"], item["width"]),
            pred_boxes=Boxes(boxes),
            scores=torch.tensor([0.45] * (count - 1) + [0.35]),
            pred_classes=torch.zeros(count, dtype=torch.int64),
        )
        return [{"instances": found}]


@pytest.fixture(scope="module")
def tool():
    from projects.TrackFormer.tools import link_detections

    return link_detections


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two videos of slow objects that do not meet, registered as ``NAME``."""
    root = tmp_path_factory.mktemp("shapes_mot")
    spec = ShapesSpec(
        num_frames=(LENGTH, LENGTH),
        height=48,
        width=64,
        min_objects=2,
        max_objects=2,
        crossings=0.0,
        camera_motion=0.0,
        speed=(0.05, 0.1),
    )
    write_mot_shapes(root, {"val": 2}, spec, seed=1, progress=False)
    register_mot(NAME, str(root / "val"), benchmark="MOT17", min_visibility=None)
    yield root / "val"
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


@pytest.fixture
def arguments(tmp_path, dataset):
    """The command line for the stub."""
    (tmp_path / "stub.yaml").write_text(
        "MODEL:\n  META_ARCHITECTURE: StubDetector\n  DEVICE: cpu\n  MASK_ON: False\n"
        f"  WEIGHTS: {tmp_path}/model.pth\nOUTPUT_DIR: {tmp_path}/output\n"
        "INPUT:\n  DATASET_MAPPER: FramePairMapper\n  MIN_SIZE_TEST: 24\n"
        f"DATASETS:\n  TEST: [{NAME}]\nDATALOADER:\n  NUM_WORKERS: 0\n"
    )
    torch.save({"model": {"weight": torch.ones(1)}}, tmp_path / "model.pth")
    return ["--config-file", str(tmp_path / "stub.yaml"), "--json", str(tmp_path / "linked.json")]


def test_the_best_of_several_thresholds_counts(tool, arguments, tmp_path, capsys):
    tool.main([*arguments, "--score-threshold", "0.3", "0.4", "0.5", "--iou-threshold", "0.2"])
    result = json.loads((tmp_path / "linked.json").read_text())[NAME]
    assert result["settings"] == {"score_threshold": 0.4, "iou_threshold": 0.2, "max_age": 1}
    mot = result["mot"]
    assert mot["HOTA"] == mot["MOTA"] == mot["IDF1"] == 100.0
    assert (mot["FP"], mot["FN"], mot["IDSW"]) == (0, 0, 0)
    assert f"{NAME}: HOTA 100.0 with {result['settings']}" in capsys.readouterr().out
    files = {path.name for path in (tmp_path / "output" / "linked" / NAME).iterdir()}
    assert files == {"val-0001.txt", "val-0002.txt", "results.json"}


def score_with(tool, arguments, tmp_path, *thresholds: str) -> dict:
    tool.main([*arguments, *thresholds])
    return json.loads((tmp_path / "linked.json").read_text())[NAME]["mot"]


def test_thresholds_of_scores_and_overlap(tool, arguments, tmp_path):
    one = ["--max-age", "1", "--iou-threshold", "0.2", "--score-threshold"]
    low = score_with(tool, arguments, tmp_path, *one, "0.3")
    assert low["FP"] == 2 * LENGTH  # one in each frame
    assert (low["FN"], low["IDSW"]) == (0, 0)
    assert score_with(tool, arguments, tmp_path, *one, "0.5")["HOTA"] == 0
    # Boxes that moved do not cover each other whole: nothing is linked.
    strict = ["--max-age", "1", "--iou-threshold", "1", "--score-threshold", "0.4"]
    unlinked = score_with(tool, arguments, tmp_path, *strict)
    assert (unlinked["FP"], unlinked["FN"]) == (0, 0)
    assert unlinked["IDSW"] > LENGTH


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["DATASETS.TEST", "()"], "error: DATASETS.TEST is empty"),
        (["MODEL.MASK_ON", "True"], "error: boxes are linked, not masks: set MODEL.MASK_ON"),
        (["DATASETS.TEST", "('crowdhuman_val',)"], "error: dataset crowdhuman_val has no tracks"),
        (["DATASETS.TEST", "('shapes_mots_val',)"], "error: dataset shapes_mots_val has no tracks"),
    ],
)
def test_mistakes_are_one_line(tool, arguments, options, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        tool.main([*arguments, "--opts", *options])
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith(message)
    assert not (tmp_path / "linked.json").exists()


def test_evaluate_raises_what_the_command_line_tells(arguments):
    """``evaluate``, which demo/quick_start.py calls, raises the same."""
    register_all()
    with pytest.raises(UserError, match="DATASETS.TEST is empty"):
        evaluate(load_cfg(arguments[1], ["DATASETS.TEST", ()]), [0.5], [0.3], [1])


def test_each_frame_of_a_tracker_is_a_picture_of_its_own(dataset):
    """All object queries answer in every frame, whatever the tracker would make of them."""
    model = build("deformable", "DATASETS.TEST", (NAME,)).eval()
    cfg = tiny_cfg("deformable", "DATASETS.TEST", (NAME,))
    videos = detect(model, build_test_loader(cfg, NAME))
    assert [item["sequence"] for item, _ in videos] == ["val-0001", "val-0002"]
    for item, frames in videos:
        assert "image" not in item
        assert [len(found) for found in frames] == [cfg.MODEL.TRACKFORMER.NUM_QUERIES] * LENGTH
        assert all(found.image_size == (48, 64) for found in frames)
    loader = build_test_loader(cfg, NAME)
    last = [item for (item,) in loader][-1]
    alone = model([{"image": last["image"][LENGTH - 1], "height": 48, "width": 64}])[0]["instances"]
    assert torch.equal(videos[-1][1][-1].scores, alone.scores)
    assert torch.equal(videos[-1][1][-1].pred_boxes.tensor, alone.pred_boxes.tensor)


def test_labels_of_several_classes(tmp_path, monkeypatch, scratch_catalog):
    register_true(monkeypatch, "true", tmp_path / "frames")
    torch.manual_seed(0)
    path = tmp_path / "model.pth"
    cfg = tiny_cfg("detr", "MODEL.WEIGHTS", str(path), "OUTPUT_DIR", str(tmp_path))
    torch.save({"model": build_model(cfg).state_dict()}, path)
    cfg.merge_from_list(["DATASETS.TEST", ("true",), "INPUT.MIN_SIZE_TEST", 24])
    found = evaluate(cfg, [0.0], [0.3], [1])["true"]["mot"]
    assert {"HOTA", "HOTA-cat", "HOTA-dog"} <= found.keys()

"""Every config of the folder loads, builds its model, and says what its name and comments say."""

import math
from pathlib import Path

import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model

from d2video.config import load_cfg
from d2video.data import build_mapper
from d2video.engine import build_optimizer
from d2video.projects import register_all

register_all()

CONFIGS = [
    path
    for path in sorted(Path("configs/TrackFormer").glob("trackformer_*.yaml"))
    if "tiny" not in path.stem and "finetune" not in path.stem  # tests/model_zoo has those
]
# Samples an epoch: frames and images of the training parts.
SIZES = {
    "crowdhuman_train": 15_000,
    "crowdhuman_val": 4_370,
    "mot17_train": 5_316,
    "mot17_train_half": 2_657,
    "mot20_train": 8_931,
    "mots20_train": 2_862,
    "dancetrack_train": 41_796,
    "keypoints_coco_2017_train": 64_115,
}
# Parameters of the official models (tests/golden/trackformer_state_dict_shapes.json.gz), the second one
# without its mask head.
DEFORMABLE, MASKS = 44_233_874, 50_730_610
DETR = MASKS - 1_333_657


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def cfg(path):
    return load_cfg(str(path), ["MODEL.DEVICE", "meta"])


def test_names_and_data(path, cfg):
    assert f"output/{path.stem}" == cfg.OUTPUT_DIR
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        assert name in DatasetCatalog
        assert MetadataCatalog.get(name).thing_classes == ["person"]
    public = [name.endswith("_public") for name in cfg.DATASETS.TEST]
    assert (
        all(public)
        == ("public" in path.stem)
        == bool(cfg.MODEL.TRACKFORMER.TRACKER.PUBLIC_DETECTIONS)
    )
    if "half" in path.stem:
        assert "mot17_train" not in cfg.DATASETS.TRAIN
    mapper = build_mapper(cfg, is_train=True)
    assert mapper.overflow_boxes == cfg.MODEL.TRACKFORMER.DEFORMABLE.ENABLED
    assert mapper.with_masks == cfg.MODEL.MASK_ON


def test_schedule_in_the_comments(path, cfg):
    """ "… = 1,763 iterations per epoch, 70,520 in total"."""
    samples = sum(SIZES[name] for name in cfg.DATASETS.TRAIN)
    iterations = samples // cfg.SOLVER.IMS_PER_BATCH
    if path.stem in ("trackformer_mot17_private_full_res", "trackformer_mot17_detr"):
        assert (cfg.SOLVER.MAX_EPOCHS, cfg.SOLVER.EPOCH_STEPS) == (40, (10,))  # another's schedule
        return
    text = " ".join(path.read_text().replace("\n# ", " ").split())
    assert (
        f"= {iterations:,} iterations per epoch, {iterations * cfg.SOLVER.MAX_EPOCHS:,} in total"
        in text
    )
    assert f"{samples:,} " in text
    assert f"{cfg.SOLVER.MAX_EPOCHS} epochs" in text
    for epoch in cfg.SOLVER.EPOCH_STEPS:
        assert f"x0.1 at epoch {epoch}" in text


def test_model_and_learning_rates(path, cfg):
    model = build_model(cfg)
    node, names = cfg.MODEL.TRACKFORMER, {id(p): name for name, p in model.named_parameters()}
    count = sum(p.numel() for p in model.parameters())
    assert count == (
        DEFORMABLE if node.DEFORMABLE.ENABLED else MASKS if cfg.MODEL.MASK_ON else DETR
    )
    rates = {
        names[id(p)].removeprefix("network."): group["lr"]
        for group in build_optimizer(cfg, model).param_groups
        for p in group["params"]
    }
    assert not any(name.startswith(("backbone.stem", "backbone.res2")) for name in rates)
    if node.FREEZE_DETECTOR:
        assert {name.split(".")[0] for name in rates} == {"mask_branch"}
        assert set(rates.values()) == {1e-4}
        return
    base = 1e-5 if "mots20" in path.stem else 2e-4
    slow = ("backbone", "reference_points", "sampling_offsets")
    for name, rate in rates.items():
        expected = base / 10 if any(part in name for part in slow) else base
        if name.startswith("track_attention."):
            expected = 1e-4  # whatever the others learn at
        assert math.isclose(rate, expected), name
    assert any(name.startswith("track_attention.") for name in rates) != node.DEFORMABLE.ENABLED


def test_full_resolution_scales_every_size():
    """int(size · 1920 / 1333), as in the official code; testing at 1080."""
    usual, full = (
        load_cfg(f"configs/TrackFormer/trackformer_mot17_private{end}.yaml", []).INPUT
        for end in ("", "_full_res")
    )

    def sizes(text):
        numbers = [token for token in yaml.scan(text) if isinstance(token, yaml.ScalarToken)]
        return [int(token.value) for token in numbers if token.value.isdigit()]

    scaled = [int(size * 1920 / 1333) for size in sizes(str(usual.AUGMENTATIONS))]
    assert len(scaled) == 29
    assert sizes(str(full.AUGMENTATIONS)) == scaled
    assert (full.MIN_SIZE_TEST, full.MAX_SIZE_TEST) == (1080, 1920)


def test_official_settings():
    """Of the fact sheet's tables; those not named here are defaults, which config.py says."""
    cfg = load_cfg("configs/TrackFormer/trackformer_mot17_private.yaml", [])
    node = cfg.MODEL.TRACKFORMER
    assert (node.FALSE_NEGATIVE_PROB, node.FALSE_POSITIVE_PROB, node.PREV_FRAME_RANGE) == (
        0.4,
        0.1,
        5,
    )
    assert (node.CLASS_WEIGHT, node.L1_WEIGHT, node.GIOU_WEIGHT) == (2, 5, 2)
    assert (node.COST_CLASS, node.COST_L1, node.COST_GIOU) == (2, 5, 2)
    assert node.TRACKER.INACTIVE_PATIENCE == 5
    masks = load_cfg("configs/TrackFormer/trackformer_mots20.yaml", []).MODEL.TRACKFORMER
    assert (masks.CLASS_WEIGHT, masks.MASK_WEIGHT, masks.DICE_WEIGHT, masks.COST_CLASS) == (
        1,
        1,
        1,
        1,
    )
    assert masks.TRACKER.INACTIVE_PATIENCE == -1

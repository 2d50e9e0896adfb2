"""Every config of the folder loads, builds its model, and says what its name and comments say."""

from pathlib import Path

import pytest
import torch
from d2video.projects.vtn.timm_vit import TimmViT
from detectron2.data import DatasetCatalog
from detectron2.modeling import ResNet, build_model

from d2video.config import load_cfg
from d2video.data import build_mapper
from d2video.engine import build_optimizer
from d2video.modeling.timm_backbone import TimmBackbone
from d2video.projects import register_all
from d2video.synthetic import MOTION_CLASSES
from demo.recipe import load_recipe

register_all()

CONFIGS = sorted(Path("configs/VTN").glob("vtn_*.yaml"))
# Those for fine-tuning: tests/model_zoo/test_finetune_configs.py
LARGE = [path for path in CONFIGS if "tiny" not in path.stem and "finetune" not in path.stem]
VIDEOS = 240_000


def load(path):
    return load_cfg(str(path), ["MODEL.DEVICE", "meta"])


def build(cfg):
    with torch.device("meta"):
        return build_model(cfg)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_data_and_model(path):
    cfg = load(path)
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        assert name in DatasetCatalog
    for is_train in (True, False):
        build_mapper(cfg, is_train)
    model = build(cfg)
    backbone = model.frame_encoder.backbone
    kinds = {"ViT": TimmViT, "tiny": TimmBackbone}
    assert isinstance(backbone, kinds.get(path.stem.split("_")[1], ResNet))
    if isinstance(backbone, TimmViT):
        assert backbone.image_size == (cfg.INPUT.CLASSIFICATION.CROP_SIZE_TEST,) * 2
    stages = {"R50": (3, 4, 6, 3), "R101": (3, 4, 23, 3)}
    kind = path.stem.split("_")[1]
    if kind in stages:
        assert tuple(map(len, backbone.stages)) == stages[kind]
        assert model.projection.weight.shape == (768, 2048)


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.stem)
def test_schedule_in_the_comments(path):
    """ "… 240,000 videos / 16 = 15,000 iterations per epoch, 375,000 in total"."""
    cfg, text = load(path), " ".join(path.read_text().replace("\n# ", " ").split())
    batch = cfg.SOLVER.IMS_PER_BATCH
    iterations = VIDEOS // batch
    total = iterations * cfg.SOLVER.MAX_EPOCHS
    assert f"{VIDEOS:,} videos / {batch} = {iterations:,} iterations per epoch" in text
    assert f"{total:,} in total" in text
    assert f"output/{path.stem}" == cfg.OUTPUT_DIR
    assert (cfg.SOLVER.MAX_EPOCHS, tuple(cfg.SOLVER.EPOCH_STEPS)) == (25, (13, 24))
    assert cfg.INPUT.EPOCH_UNIT == "video"


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.stem)
def test_official_optimizer(path):
    """SGD with Nesterov momentum; one rate and one weight decay for every parameter."""
    cfg = load(path)
    model = build(cfg)
    optimizer = build_optimizer(cfg, model)
    assert isinstance(optimizer, torch.optim.SGD)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(parameters) == sum(p.requires_grad for p in model.parameters())
    for group in optimizer.param_groups:
        assert group["lr"] == 1e-3
        assert group["weight_decay"] == 1e-4
        assert group["momentum"] == 0.9
        assert group["nesterov"]
    assert not cfg.SOLVER.CLIP_GRADIENTS.ENABLED
    assert not cfg.SOLVER.AMP.ENABLED
    assert cfg.SOLVER.GAMMA == 0.1
    assert cfg.SOLVER.WARMUP_ITERS == 0


def test_official_clips():
    cfg = load("configs/VTN/vtn_ViT_B_kinetics400.yaml")
    video = cfg.INPUT.CLASSIFICATION
    assert (video.NUM_FRAMES, video.CLIP_SECONDS) == (16, 5.12)
    assert (video.NUM_FRAMES_TEST, video.TEST_SECONDS) == (250, 10)
    assert (video.NUM_VIEWS, video.NUM_CROPS, video.CROP_SIZE_TEST) == (1, 1, 224)
    assert pytest.approx([0.45 * 255] * 3) == cfg.MODEL.PIXEL_MEAN
    assert pytest.approx([0.225 * 255] * 3) == cfg.MODEL.PIXEL_STD


def test_reversed_classes_of_the_demo():
    """Backwards every direction of a class is its opposite; a folder's classes are in order of name."""
    forwards, backwards = MOTION_CLASSES[::2], MOTION_CLASSES[1::2]
    opposite = dict(zip(forwards + backwards, backwards + forwards, strict=True))
    names = sorted(load_recipe("VTN").spec.classes)
    reversed_names = ["_".join(opposite[part] for part in name.split("_")) for name in names]
    cfg = load("configs/VTN/vtn_tiny_motion.yaml")
    assert [names[k] for k in cfg.MODEL.VTN.REVERSED_CLASSES] == reversed_names
    assert load_recipe("VTN").spec.num_frames[0] == cfg.INPUT.CLASSIFICATION.NUM_FRAMES

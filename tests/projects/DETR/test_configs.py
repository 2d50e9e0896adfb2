"""Every config of the folder loads, and says what its name says."""

from pathlib import Path

import pytest
from detectron2.data import MetadataCatalog

from d2video.config import load_cfg
from d2video.projects import register_all

# Those for fine-tuning: tests/model_zoo/test_finetune_configs.py
CONFIGS = sorted(
    path for path in Path("configs/DETR").glob("detr_*.yaml") if not path.stem.endswith("_finetune")
)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config(path):
    register_all()
    cfg = load_cfg(str(path), [])
    detr = cfg.MODEL.DETR
    assert cfg.MODEL.META_ARCHITECTURE == "DETR"
    assert ("panoptic" in path.stem) == detr.PANOPTIC.ENABLED
    assert not detr.PANOPTIC.ENABLED or cfg.MODEL.MASK_ON
    if "tiny" in path.stem:
        return
    if "lite0" in path.stem:
        assert cfg.MODEL.TIMM.NAME == "tf_efficientnet_lite0"
    else:
        assert f"R{cfg.MODEL.RESNETS.DEPTH}" in path.stem
    assert (cfg.MODEL.RESNETS.RES5_DILATION == 2) == ("DC5" in path.stem)
    assert f"output/{path.stem}" == cfg.OUTPUT_DIR
    # The logits are the COCO ids of the contiguous classes, as detectron2 numbers them.
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    if not detr.PANOPTIC.ENABLED:
        ids = MetadataCatalog.get("coco_2017_train").thing_dataset_id_to_contiguous_id
        assert list(ids) == detr.CLASS_LOGITS
        return
    contiguous = {
        **metadata.thing_dataset_id_to_contiguous_id,
        **metadata.stuff_dataset_id_to_contiguous_id,
    }
    assert {logit: index for index, logit in enumerate(detr.CLASS_LOGITS)} == contiguous
    assert len(metadata.thing_dataset_id_to_contiguous_id) == detr.PANOPTIC.NUM_THINGS

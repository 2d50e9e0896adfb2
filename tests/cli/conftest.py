"""What all tests of programs need."""

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model

from d2video.checkpoint import VideoCheckpointer
from d2video.cli import predict
from d2video.config.stored import config_text
from d2video.structures import set_class_names
from d2video.synthetic import ShapesSpec, write_coco_shapes
from tests.helpers import stub_video_model  # noqa: F401  registers the models
from tests.projects.DETR.tiny import tiny_cfg

SHAPES = ["circle", "square", "triangle"]


@pytest.fixture(scope="session")
def demo():
    """The program that predicts, as a module."""
    return predict


@pytest.fixture(autouse=True)
def _restore_loggers(loggers_as_before):
    """A program sets up logging."""


def forget(name: str) -> None:
    """As in another process."""
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A folder with a training of a model, ``run``, and its data; the test runs in another one."""
    spec = ShapesSpec(height=48, width=64, num_frames=(4, 4))
    write_coco_shapes(tmp_path / "shapes", {"val": 3}, spec, progress=False)
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    files = {"json_file": "shapes/annotations/instances_val.json", "image_root": "shapes/val"}
    cfg = tiny_cfg(
        *("DATASETS.REGISTER", [["evaluated", "coco", files]]),
        *("DATASETS.TEST", ["evaluated"], "INPUT.MIN_SIZE_TEST", 48, "MODEL.DETR.NUM_CLASSES", 3),
    )
    torch.manual_seed(0)
    model = build_model(cfg)
    set_class_names(model, SHAPES)
    checkpointer = VideoCheckpointer(model, "run", config=config_text(cfg))
    evaluated = {"iteration": 1, "results": {"bbox/AP": 12.5}}
    checkpointer.metrics = {"last": evaluated, "best": {"metric": "bbox/AP", **evaluated}}
    checkpointer.save("model_final", iteration=1)
    monkeypatch.chdir("elsewhere")
    forget("evaluated")
    return tmp_path

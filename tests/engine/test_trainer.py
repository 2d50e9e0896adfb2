"""VideoTrainer: a training that goes on, and one whose batches use a part of the model."""

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from d2video.data import register_image_folder
from d2video.engine import VideoTrainer
from d2video.synthetic import write_restoration_images
from tests.helpers.two_processes import metrics, train
from tests.projects.IPT.tiny import NODE, tiny_cfg


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for k in range(3):
        pixels = rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/{k}.png")
    register_image_folder("resumed", str(tmp_path / "images"))
    yield tmp_path
    DatasetCatalog.remove("resumed")
    MetadataCatalog.remove("resumed")


def tasks_trained_on(output, steps: int, resume: bool) -> list[str]:
    """The task of each step of a training up to step ``steps``."""
    cfg = tiny_cfg(
        *("INPUT.DATASET_MAPPER", "RestorationMapper", "DATASETS.TRAIN", ("resumed",)),
        *("DATALOADER.NUM_WORKERS", 0, "DATALOADER.ASPECT_RATIO_GROUPING", False),
        *("SOLVER.IMS_PER_BATCH", 2, "SOLVER.MAX_ITER", steps, "SOLVER.STEPS", ()),
        *("SOLVER.OPTIMIZER", "ADAMW"),
        *("OUTPUT_DIR", str(output), f"{NODE}CONTRASTIVE_WEIGHT", 0.0),
    )
    trainer = VideoTrainer(cfg)
    seen = []
    model = trainer._trainer.model
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0][0]["task"]))
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return seen


def test_a_training_that_goes_on_has_the_tasks_of_one_that_never_stopped(folder):
    whole = tasks_trained_on(folder / "whole", 9, False)
    first = tasks_trained_on(folder / "parts", 4, False)
    rest = tasks_trained_on(folder / "parts", 9, True)
    assert (len(first), len(rest)) == (4, 5)
    assert first + rest == whole
    assert rest != whole[:5]  # or the test could not fail


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_parts_of_random_numbers_are_told(folder, caplog, frozen):
    cfg = tiny_cfg(
        *("INPUT.DATASET_MAPPER", "RestorationMapper", "DATASETS.TRAIN", ("resumed",)),
        *("DATALOADER.NUM_WORKERS", 0, "DATALOADER.ASPECT_RATIO_GROUPING", False),
        *("SOLVER.IMS_PER_BATCH", 2, "SOLVER.STEPS", (), "OUTPUT_DIR", str(folder / "out")),
        *(f"{NODE}CONTRASTIVE_WEIGHT", 0.0, f"{NODE}FREEZE_TRUNK", frozen),
    )
    trainer = VideoTrainer(cfg)
    trainer.resume_or_load(resume=True)
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert any("MODEL.WEIGHTS is empty" in message for message in warned) == frozen


@pytest.mark.slow
def test_two_processes_share_the_task_of_a_batch(tmp_path):
    """Tasks change from batch to batch, so that parameters of the others have no gradients."""
    write_restoration_images(tmp_path / "shapes_images", {"train": 4}, progress=False)
    done = train(tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = {key for line in metrics(tmp_path) for key in line}
    assert {"train_psnr_sr_x2", "train_psnr_denoise_30"} <= seen

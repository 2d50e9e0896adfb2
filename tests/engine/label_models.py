"""Very small models of objects, for labels of every kind."""

from d2video.engine import VideoTrainer
from tests.projects.DETR.tiny import tiny_cfg as detr
from tests.projects.TrackFormer.tiny import tiny_cfg as trackformer
from tests.projects.VisTR.tiny import tiny_cfg as vistr

DETR = "configs/DETR/detr_tiny_shapes.yaml"
CLASSES = ("MODEL.DETR.NUM_CLASSES", 3)  # answers of classes that the data lack are passed over
# Model -> its config, what is scored, and the keys that name a class.
MODELS = {
    "VisTR": (lambda *keys: vistr(*keys), {"segm": "AP"}),
    "TrackFormer": (lambda *keys: trackformer("detr", *keys), {"mot": "HOTA"}),
    "TrackFormer with masks": (lambda *keys: trackformer("detr_masks", *keys), {"mot": "HOTA"}),
    "DETR": (
        lambda *keys: detr("MODEL.MASK_ON", False, *CLASSES, *keys, config=DETR),
        {"bbox": "AP"},
    ),
    "linked DETR": (
        lambda *keys: detr(
            "MODEL.MASK_ON", True, "MODEL.DETR.LINK", True, *CLASSES, *keys, config=DETR
        ),
        {"segm": "AP", "mot": "HOTA"},
    ),
}


def config(model, folder, *keys, data="true"):
    """``data``: the name of a data set, or the path of labels."""
    make, _ = MODELS[model]
    return make(
        *("DATASETS.TRAIN", (data,), "DATASETS.TEST", (data,), "OUTPUT_DIR", str(folder)),
        *("SOLVER.IMS_PER_BATCH", 1, "DATALOADER.NUM_WORKERS", 0, "SEED", 1),
        *("SOLVER.MAX_EPOCHS", 0, "SOLVER.EPOCH_STEPS", "()", "SOLVER.MAX_ITER", 1),
        *("SOLVER.STEPS", "()"),
        *keys,
    )


def train_and_test(cfg) -> dict:
    """A step of training, and the results on DATASETS.TEST."""
    trainer = VideoTrainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    return trainer.test(trainer.cfg, trainer.model)

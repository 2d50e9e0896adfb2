"""More objects in an image or clip than queries: told at the start of a training, and counted in it."""

import json

import numpy as np
import pytest

from d2video.data import build_train_loader, register_ytvis_instances
from d2video.data.datasets.mot import register_mot
from d2video.engine import VideoTrainer
from tests.fuzz.targets_check import write_pictures
from tests.fuzz.targets_text import GT
from tests.helpers import coco_sets, ytvis_content
from tests.helpers.mot_folders import write_sequence
from tests.helpers.systems import system_cfg

NAME = "crowded"


def images(folder):
    """Three: two objects and a crowd, none, one."""
    coco_sets.write_images(folder)
    coco_sets.register_instances(NAME, folder, coco_sets.instance_content())


def clips(folder):
    """Video 7, where a second object leaves after two of five frames, a crowd left out; video 3: none."""
    frames = range(ytvis_content.LENGTH)
    write_pictures(folder, *(f"{v}/{t:05d}.png" for v in ("first", "second") for t in frames))
    (folder / "a.json").write_text(json.dumps(ytvis_content.content()))
    register_ytvis_instances(NAME, {}, str(folder / "a.json"), str(folder))


def tracks(folder):
    """Two objects in each of three frames."""
    write_sequence(folder / "A", length=3, gt=GT)
    register_mot(NAME, str(folder), benchmark="MOT17", min_visibility=None)


SYSTEMS = {
    "DETR": (images, "MODEL.DETR.NUM_QUERIES", [0, 1, 2]),
    "VisTR": (clips, "MODEL.VISTR.NUM_SLOTS", None),
    "TrackFormer": (tracks, "MODEL.TRACKFORMER.NUM_QUERIES", [2, 2, 2]),
}


def config(system, folder, queries, **options):
    write, key, _ = SYSTEMS[system]
    write(folder)
    common = {"DATASETS.TRAIN": (NAME,), "DATALOADER.NUM_WORKERS": 0, key: queries}
    common |= {"DATALOADER.FILTER_EMPTY_ANNOTATIONS": False, "OUTPUT_DIR": str(folder / "out")}
    common |= {"SOLVER.MAX_ITER": 2, "SOLVER.IMS_PER_BATCH": 6}
    return system_cfg(system, **common | options)


@pytest.mark.parametrize("system", SYSTEMS)
def test_they_are_told_and_counted(system, tmp_path, scratch_catalog, loggers_as_before, caplog):
    # Otherwise TrackFormer's track queries take those that are left over, now and then.
    dropped = {"MODEL.TRACKFORMER.FALSE_NEGATIVE_PROB": 1.0} if system == "TrackFormer" else {}
    trainer = VideoTrainer(config(system, tmp_path, 1, **dropped))
    counts = trainer._trainer.data_loader.object_counts
    (told,) = [record.message for record in caplog.records if "more objects" in record.message]
    assert f"{(counts > 1).sum()} of {len(counts)} training samples have more objects" in told
    assert f"{SYSTEMS[system][1]} 1, up to 2" in told
    trainer.train()
    (first, _), (both, _) = trainer.storage.history("unmatched_objects").values()
    assert both > first > 0  # a sum over the steps


@pytest.mark.parametrize("system", SYSTEMS)
def test_enough_queries(system, tmp_path, scratch_catalog, loggers_as_before, caplog):
    trainer = VideoTrainer(config(system, tmp_path, 2))
    assert "more objects" not in caplog.text
    trainer.train()
    assert trainer.storage.latest()["unmatched_objects"][0] == 0


@pytest.mark.parametrize("system", ["DETR", "TrackFormer"])
def test_objects_of_images_and_frames(system, tmp_path, scratch_catalog):
    counts = build_train_loader(config(system, tmp_path, 1)).object_counts
    assert sorted(counts.tolist()) == SYSTEMS[system][2]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # The window of two frames ends at the key frame; before the first one comes the last.
        ({}, [2, 2, 2, 1, 1]),
        ({"INPUT.CLIP.OFFICIAL_TARGETS": True}, [2] * 5),
        ({"INPUT.CLIP.SAMPLER": "RandomRangeSampler", "INPUT.CLIP.RANGE": 1}, [2, 2, 2, 1, 1]),
        ({"INPUT.CLIP.SAMPLER": "RandomRangeSampler", "INPUT.CLIP.RANGE": 2}, [2] * 5),
        ({"INPUT.EPOCH_UNIT": "video"}, [2]),
    ],
)
def test_objects_of_clips(options, expected, tmp_path, scratch_catalog):
    options = {"INPUT.CLIP.NUM_FRAMES": 2, "TEST.VIDEO.WINDOW_OVERLAP": 1} | options
    counts = build_train_loader(config("VisTR", tmp_path, 1, **options)).object_counts
    assert counts.tolist() == [*expected, *[0] * len(expected)]


def test_what_is_counted_is_what_clips_hold(tmp_path, scratch_catalog):
    cfg = config("VisTR", tmp_path, 1, **{"INPUT.CLIP.NUM_FRAMES": 2, "INPUT.AUGMENTATIONS": []})
    loader = build_train_loader(cfg)
    samples = loader.loader.dataset
    np.random.seed(0)
    held = [len(samples[k]["instances"][0]) for k in range(len(samples))]
    assert held == loader.object_counts.tolist()

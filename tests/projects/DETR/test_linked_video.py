"""DETR with MODEL.DETR.LINK: videos as streams and as data sets, masks, panoptic maps, images."""

import json

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model

from d2video.cli.train import main as train_main
from d2video.data.datasets.mot import register_mot
from d2video.data.datasets.ytvis import register_ytvis_instances
from d2video.inference.predictor import Predictor
from d2video.inference.tasks import DetectionTask, TrackingTask
from d2video.synthetic import ShapesSpec, write_mot_shapes, write_ytvis_shapes
from d2video.utils.errors import UserError
from d2video.visualization.panoptic import draw_panoptic
from tests.projects.DETR.tiny import tiny_cfg

# Random weights are sure of nothing, and all their queries say about the same.
SURE = ["MODEL.DETR.LINKING.NEW_SCORE", 0.1, "MODEL.DETR.LINKING.LOW_SCORE", 0.05]
LINK = ["MODEL.DETR.LINK", True, *SURE, "MODEL.DETR.LINKING.DUPLICATE", 1.0]
PANOPTIC = [
    *("MODEL.MASK_ON", True, "MODEL.DETR.PANOPTIC.ENABLED", True),
    *("MODEL.DETR.PANOPTIC.NUM_THINGS", 3, "MODEL.DETR.PANOPTIC.SCORE_THRESH", 0.1),
]
SHAPES = ShapesSpec(num_frames=(4, 4), height=32, width=48, classes=("circle",))


def build(*overrides, seed: int = 0):
    torch.manual_seed(seed)
    return build_model(tiny_cfg(*overrides)).eval()


def make_video(length: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    size = (length, 3, 40, 56)
    return [*torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)]


def predictor_of(model) -> Predictor:
    return Predictor(model=model, min_size=0, max_size=0, class_names=[*"abcd"])


@pytest.mark.parametrize("options", [[], ["MODEL.MASK_ON", True], PANOPTIC])
def test_a_stream_and_a_data_sets_video_have_the_same_tracks(options):
    model, video = build(*LINK, *options), make_video()
    stream = [answer["instances"] for answer in model.stream_video(iter(video), (80, 112))]
    (whole,) = model([{"image": iter(video), "height": 80, "width": 112}])
    assert whole["image_size"] == (80, 112)
    assert len(whole["frames"]) == len(video)
    for streamed, frame in zip(stream, whole["frames"], strict=True):
        assert len(frame) > 0
        assert torch.equal(streamed.track_ids, frame.track_ids)
        assert torch.equal(streamed.pred_boxes.tensor, frame.pred_boxes.tensor)
        assert frame.has("pred_rles") == bool(options)
        assert not frame.has("pred_masks")
    seen = {track for frame in whole["frames"] for track in frame.track_ids.tolist()}
    assert seen == {*whole["pred_ids"]}
    assert len(whole["pred_scores"]) == len(whole["pred_labels"]) == len(whole["pred_masks"])
    assert all(len(masks) == len(video) for masks in whole["pred_masks"])


def test_frames_one_at_a_time_are_a_video():
    model, video = build(*LINK), make_video()
    predictor = predictor_of(model)
    whole = [answer["instances"].track_ids for answer in model.stream_video(video, (40, 56))]
    images = [np.ascontiguousarray(frame.permute(1, 2, 0).numpy()) for frame in video]
    for _ in range(2):
        for image, track_ids in zip(images, whole, strict=True):
            assert torch.equal(predictor.predict_frame(image).instances.track_ids, track_ids)
        predictor.reset()


def test_images_are_answered_as_without_linking():
    linked, plain = build(*LINK, *PANOPTIC), build(*PANOPTIC)
    assert isinstance(linked.task, TrackingTask)
    assert linked.task.takes_images
    assert type(plain.task) is DetectionTask
    image = np.ascontiguousarray(make_video(1)[0].permute(1, 2, 0).numpy())
    a, b = (predictor_of(model).predict(image) for model in (linked, plain))
    assert len(a.instances) > 0
    assert torch.equal(a.instances.scores, b.instances.scores)
    assert not a.instances.has("track_ids")
    assert a.panoptic_seg[1] == b.panoptic_seg[1]


def test_masks_of_tracks_do_not_overlap():
    model = build(*LINK, "MODEL.MASK_ON", True)
    for answer in model.stream_video(make_video(), (80, 112)):
        masks = answer["instances"].pred_masks
        assert masks.any()
        assert masks.sum(0).max() == 1


def test_segments_have_the_tracks_of_their_instances():
    model = build(*LINK, *PANOPTIC, seed=3)
    found = 0
    for answer in model.stream_video(make_video(), (40, 56)):
        instances, (_, segments) = answer["instances"], answer["panoptic_seg"]
        tracks = dict(
            zip(instances.track_ids.tolist(), instances.pred_classes.tolist(), strict=True)
        )
        for segment in segments:
            assert segment["isthing"] or "track_id" not in segment
            if segment["isthing"]:
                assert tracks[segment["track_id"]] == segment["category_id"]
                found += 1
    assert found > 0


def test_a_tracks_segment_keeps_its_colour():
    """Whatever else is in the frame; without tracks, things take colours in turn."""
    ids = torch.ones(64, 64, dtype=torch.int32)
    ids[:8] = 2
    segment = {"id": 1, "isthing": True, "category_id": 0, "area": 56 * 64}
    other = {"id": 2, "isthing": True, "category_id": 0, "area": 8 * 64}

    def colour(*segments):
        return draw_panoptic(np.zeros((64, 64, 3), np.uint8), (ids, [*segments]), ["a"])[-4, -4]

    fifth = colour({**segment, "track_id": 5})
    assert (fifth == colour(other, {**segment, "track_id": 5})).all()
    assert (fifth != colour({**segment, "track_id": 6})).any()
    assert (colour(segment) != colour(other, segment)).any()


def test_nothing_to_follow():
    model = build("MODEL.DETR.LINK", True, "MODEL.DETR.LINKING.LOW_SCORE", 1.0, *PANOPTIC)
    (whole,) = model([{"image": make_video(), "height": 40, "width": 56}])
    assert [len(frame) for frame in whole["frames"]] == [0] * 4
    assert whole["pred_ids"] == []
    (empty,) = model([{"image": [], "height": 40, "width": 56}])
    assert empty["frames"] == []


def test_low_scores_and_stuff_are_not_followed():
    all_scores = ["MODEL.DETR.LINKING.NEW_SCORE", 0.0, "MODEL.DETR.LINKING.LOW_SCORE", 0.0]
    low = build("MODEL.DETR.LINK", True, *all_scores, "MODEL.DETR.SCORE_THRESH_TEST", 0.9)
    assert not any(len(a["instances"]) for a in low.stream_video(make_video(), (40, 56)))
    stuff = [*PANOPTIC, "MODEL.DETR.PANOPTIC.NUM_THINGS", 1]
    model = build("MODEL.DETR.LINK", True, *all_scores, *stuff)
    for answer in model.stream_video(make_video(), (40, 56)):
        assert (answer["instances"].pred_classes == 0).all()


def test_videos_need_linking():
    model = build()
    with pytest.raises(UserError, match=r"this is a video: set MODEL\.DETR\.LINK True"):
        model([{"image": make_video(), "height": 40, "width": 56}])


def test_evaluation_on_tracking_data(tmp_path):
    """By the config alone: the image mapper of the config takes test videos."""
    write_mot_shapes(tmp_path / "mot", {"val": 1}, SHAPES, progress=False)
    write_mot_shapes(tmp_path / "mots", {"val": 1}, SHAPES, masks=True, progress=False)
    write_ytvis_shapes(tmp_path / "vis", {"val": 1}, SHAPES, progress=False)
    sets = {"linked_mot": "MOT17", "linked_mots": "MOTS20"}
    for name, benchmark in sets.items():
        path = tmp_path / name.removeprefix("linked_") / "val"
        register_mot(name, str(path), benchmark=benchmark, class_name="circle")
    images = str(tmp_path / "vis" / "val" / "JPEGImages")
    register_ytvis_instances("linked_vis", {}, str(tmp_path / "vis" / "val.json"), images)
    torch.manual_seed(0)
    options = ["MODEL.MASK_ON", True, "MODEL.DETR.NUM_CLASSES", 1, *LINK]
    cfg = tiny_cfg(*options, "DATASETS.TEST", [*sets, "linked_vis"], "OUTPUT_DIR", str(tmp_path))
    torch.save({"model": build_model(cfg).state_dict()}, tmp_path / "model.pth")
    (tmp_path / "config.yaml").write_text(cfg.dump())
    weights = ["MODEL.WEIGHTS", str(tmp_path / "model.pth")]
    train_main(["--config-file", str(tmp_path / "config.yaml"), "--eval-only", *weights])
    results = json.loads((tmp_path / "inference" / "linked_mot" / "results.json").read_text())
    assert results["combined"]["summary"]["HOTA"] >= 0
    lines = (tmp_path / "inference" / "linked_mot" / "val-0001.txt").read_text().splitlines()
    assert {line.split(",")[0] for line in lines} == {"1", "2", "3", "4"}

"""TrackFormer as ONNX files, run without torch, against the model."""

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from d2video.config import load_cfg
from d2video.deploy import Runner
from d2video.export import export_graphs, write_export
from d2video.inference.predictor import Predictor
from d2video.synthetic import ShapesSpec, render_video, video_rng
from d2video.utils.errors import UserError
from d2video.video.video_reader import open_video
from tests.deploy.without_torch import run_without_torch
from tests.helpers.small_backbone import SMALL_BACKBONE
from tests.projects.TrackFormer.tiny import NODE, build, tiny_cfg

pytestmark = pytest.mark.slow

# Small graphs, because their export takes the time, and thresholds at which tracks end and return.
OPTIONS = {
    "detr_masks": [
        *(f"{NODE}.TRACKER.INACTIVE_PATIENCE", 5),
        *(f"{NODE}.DEC_LAYERS", 1, f"{NODE}.MASK_FEATURES", ["res3"]),
    ],
    "multi_frame": [
        *(f"{NODE}.TRACKER.DETECTION_SCORE_THRESH", 0.5),
        *(f"{NODE}.TRACKER.TRACK_SCORE_THRESH", 0.45),
        *(f"{NODE}.TRACKER.REID_SCORE_THRESH", 0.47),
        *(f"{NODE}.TRACKER.INACTIVE_PATIENCE", 5),
    ],
}


@pytest.fixture(
    scope="module", params=["detr_masks", pytest.param("multi_frame", marks=pytest.mark.long)]
)
def exported(request, tmp_path_factory):
    """The model's predictor, and the folder and differences of its export."""
    options = [*SMALL_BACKBONE, *OPTIONS[request.param]]
    model = build(request.param, *options, seed=2).eval()
    folder = tmp_path_factory.mktemp("exported")
    differences = write_export(model, tiny_cfg(request.param, *options), "onnx", folder)
    predictor = Predictor(model=model, min_size=64, max_size=128, class_names=None)
    return predictor, folder, differences


@pytest.fixture(scope="module")
def video():
    """Objects that leave and return."""
    spec = ShapesSpec(num_frames=(10, 10), height=80, width=120, speed=(0.2, 0.4), leaving=0.8)
    return [*render_video(spec, video_rng(3, "export", 0)).frames]


def test_graphs_are_the_model(exported):
    """Compared on an image of another size, and with 0, 1 and 5 tracks, where 3 were traced."""
    predictor, _, differences = exported
    with_masks = predictor.model.network.mask_branch is not None
    assert differences.keys() == {"features", "detect"} | ({"masks"} if with_masks else set())
    assert max(differences.values()) <= 1e-4


def test_the_same_tracks_without_torch(exported, video, tmp_path):
    predictor, folder, _ = exported
    (tmp_path / "video").mkdir()
    for index, frame in enumerate(video):
        cv2.imwrite(str(tmp_path / f"video/{index:03}.png"), frame[..., ::-1])
    found = run_without_torch(folder, tmp_path / "video", tmp_path / "results.json")
    ids = []
    for ours, theirs in zip(found["frames"], predictor(open_video(video)), strict=True):
        ids.append(same_tracks(ours["instances"], theirs.instances))
    # There was something to compare: some were away and came back.
    returned = [
        one
        for one in set().union(*ids)
        if "10" in "".join(str(int(one in seen)) for seen in ids).rstrip("0")
    ]
    assert returned
    assert len(set().union(*ids)) > len(ids[0]) > 0


def same_tracks(ours, theirs):
    """The ids."""
    ids = [each["track_id"] for each in ours]
    assert ids == theirs.track_ids.tolist()
    assert [each["category_id"] for each in ours] == theirs.pred_classes.tolist()
    np.testing.assert_allclose([each["score"] for each in ours], theirs.scores, atol=1e-4)
    boxes = np.array([each["bbox"] for each in ours])
    boxes[:, 2:] += boxes[:, :2]
    np.testing.assert_allclose(boxes, theirs.pred_boxes.tensor, atol=0.02)
    if theirs.has("pred_masks"):
        masks = np.stack([rle.decode(each["segmentation"]) for each in ours])
        # Where two masks, or a mask and nothing, are as likely, rounding decides.
        assert (masks != theirs.pred_masks.numpy()).mean() <= 1e-3
    return ids


def test_an_image(exported, video):
    """A video of one frame."""
    predictor, folder, _ = exported
    ours = Runner(folder, threads=1).predict(video[3]).to_dict()["instances"]
    assert same_tracks(ours, predictor.predict(video[3]).instances)


@pytest.mark.parametrize(
    ("variant", "options", "key"),
    [
        ("track_links", [], "TRACK_LINKS"),
        ("detr_track_attention", [], "TRACK_ATTENTION"),
        ("detr", [f"{NODE}.TRACKER.PUBLIC_DETECTIONS", "center_distance"], "PUBLIC_DETECTIONS"),
    ],
)
def test_what_cannot_be_exported_is_refused(variant, options, key):
    model = build(variant, *options).eval()
    with pytest.raises(UserError, match=key):
        export_graphs(model, tiny_cfg(variant, *options))


@pytest.mark.long
def test_the_official_form(tmp_path):
    torch.manual_seed(0)
    from detectron2.modeling import build_model

    cfg = load_cfg("configs/TrackFormer/trackformer_mot17_private.yaml", ["MODEL.DEVICE", "cpu"])
    differences = write_export(build_model(cfg.clone()).eval(), cfg, "onnx", tmp_path)
    print(differences)
    assert max(differences.values()) <= 1e-4

"""VisTR as ONNX files, which takes its time; what runs them is tested in ``test_deployed``."""

import numpy as np
import onnx
import pytest
import torch
from detectron2.modeling import build_model

from d2video.config import load_cfg
from d2video.export import write_export
from d2video.inference.predictor import Predictor
from d2video.video.video_writer import VideoWriter
from tests.deploy.without_torch import run_without_torch
from tests.helpers.small_backbone import SMALL_BACKBONE
from tests.projects.VisTR.test_deployed import build
from tests.projects.VisTR.tiny import make_clip

pytestmark = pytest.mark.long

RESCORED = ["MODEL.VISTR.MASK_SCORES", 2.0, "MODEL.VISTR.SOFT_NMS", True]


def test_a_video_without_torch(tmp_path):
    """Exported at one size, compared at another, run at a third."""
    model, cfg = build(*SMALL_BACKBONE, *RESCORED, "INPUT.MIN_SIZE_TEST", 0)
    differences = write_export(model, cfg, "onnx", tmp_path / "exported")
    assert differences["clip"] <= 1e-4
    graph = onnx.load(tmp_path / "exported" / "clip.onnx")
    assert {each.domain for each in graph.opset_import} == {""}  # standard operators only
    with VideoWriter(tmp_path / "video.mp4", fps=10) as writer:
        for frame in make_clip(64, 96, num_frames=5)["image"]:
            writer.write(frame.permute(1, 2, 0).numpy())
    results = run_without_torch(
        tmp_path / "exported", tmp_path / "video.mp4", tmp_path / "results.json"
    )
    expected = [
        *Predictor(model=model, min_size=0, max_size=0, class_names=None)(tmp_path / "video.mp4")
    ]
    assert results["num_frames"] == len(expected) == 5
    for found, frame in zip(results["frames"], expected, strict=True):
        ids = [each["track_id"] for each in found["instances"]]
        assert ids == frame.instances.track_ids.tolist()
        scores = [each["score"] for each in found["instances"]]
        # Two decoders: pixels differ by a step or two.
        np.testing.assert_allclose(scores, frame.instances.scores.numpy(), atol=0.02)


def test_the_official_form(tmp_path):
    torch.manual_seed(0)
    cfg = load_cfg("configs/VisTR/vistr_R50_ytvis2019.yaml", ["MODEL.DEVICE", "cpu"])
    differences = write_export(build_model(cfg.clone()).eval(), cfg, "onnx", tmp_path)
    assert differences["clip"] <= 1e-3

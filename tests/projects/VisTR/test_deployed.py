"""The task that runs an exported VisTR, without onnxruntime: the graph is the module that becomes it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from d2video.projects.vistr.deployed import Segmentation
from d2video.projects.vistr.vistr import VisTR
from detectron2.modeling import build_model

from d2video.deploy.graphs import Graph
from d2video.deploy.manifest import GraphEntry, Manifest
from d2video.export import export_graphs
from d2video.utils.errors import UserError
from tests.projects.VisTR.tiny import make_clip, tiny_cfg


class ModuleGraph(Graph):
    """A graph's module, called as the graph would be."""

    def __init__(self, spec):
        super().__init__(Path("clip"), GraphEntry("clip", [], spec.outputs), "cpu", 1)
        self.module = spec.module

    def __call__(self, **arrays):
        with torch.no_grad():
            found = self.module(*map(torch.from_numpy, arrays.values()))
        return {name: each.numpy() for name, each in zip(self.entry.outputs, found, strict=True)}

    def run(self, inputs):
        raise NotImplementedError


def build(*options):
    """A model whose slots and frames differ in their masks, and which drops some slots."""
    torch.manual_seed(0)
    frames = [*("INPUT.CLIP.NUM_FRAMES", 3, "TEST.VIDEO.WINDOW_OVERLAP", 2)]
    cfg = tiny_cfg(*frames, "TEST.VIDEO.LINK_IOU", 0.2, *options)
    model = build_model(cfg.clone()).eval()
    video = make_clip(num_frames=3)["image"]
    model.score_threshold = 0.0
    with torch.no_grad():
        model.network.class_embed.weight.mul_(3)
        model.network.insmask_head[-1].weight.mul_(30)
        masks = model.predict_clip(video).mask_logits
        model.network.insmask_head[-1].bias.sub_(masks.median())
    confidence = np.sort(model.predict_clip(video).probabilities.max(-1).mean(0))
    model.score_threshold = float(confidence[1] + confidence[2]) / 2
    return model, cfg


def deployed(model, cfg) -> Segmentation:
    offered = export_graphs(model, cfg)
    module, _, name = offered.task.partition(":")
    assert (module, name) == (Segmentation.__module__, "Segmentation")
    manifest = Manifest("VisTR", "onnx", offered.task, {}, {}, 0, 0, None, "", "0")
    graphs = {"clip": ModuleGraph(offered.graphs["clip"])}
    return Segmentation(graphs, manifest, **offered.settings)


OFFSET = ["MODEL.VISTR.LABEL_OFFSET", 1, "MODEL.VISTR.NUM_CLASSES", 4]
RESCORED = ["MODEL.VISTR.MASK_SCORES", 2.0, "MODEL.VISTR.SOFT_NMS", True, "INPUT.FORMAT", "BGR"]


@pytest.mark.parametrize("options", [OFFSET, RESCORED], ids=["offset", "rescored"])
def test_answers_are_those_of_the_model(options):
    """Videos shorter than a window, and of several windows; an image."""
    model, cfg = build(*options)
    task = deployed(model, cfg)
    some = []
    for length in (1, 2, 6):
        frames = make_clip(num_frames=length, seed=length)["image"]
        images = [frame.permute(1, 2, 0).numpy() for frame in frames]
        given = frames if cfg.INPUT.FORMAT == "RGB" else [frame.flip(0) for frame in frames]
        with torch.no_grad():
            expected = [*model.stream_video(given, (40, 56))]
        found = [task.answer_image(images[0])] if length == 1 else [*task.stream(images)]
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours.track_ids, theirs.track_ids.numpy())
            np.testing.assert_array_equal(ours.classes, theirs.pred_classes.numpy())
            np.testing.assert_allclose(ours.scores, theirs.scores.numpy(), rtol=1e-5)
            # Pixels whose logit is nearly zero may differ: two ways of resizing.
            masks = theirs.pred_masks.numpy()
            assert (ours.masks != masks).sum() <= 1e-3 * masks.size
            np.testing.assert_allclose(ours.boxes, theirs.pred_boxes.tensor.numpy(), atol=1)
            some.append((len(masks), bool(masks.any() and not masks.all())))
    # Slots were dropped, and masks are of a part of the frame.
    assert any(0 < count < 5 for count, _ in some)
    assert sum(partly for _, partly in some) >= 5


def test_a_derived_class_is_refused():
    model, cfg = build()
    model.__class__ = type("Other", (VisTR,), {})
    with pytest.raises(UserError, match="Other cannot be exported"):
        export_graphs(model, cfg)

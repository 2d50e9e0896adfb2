"""The networks against arrays of the official implementation, same weights and inputs.

Tolerance: float32 noise of these networks against float64 is 2e-5 at most; wrong axes, orders or layouts
change the outputs by more than 0.01.
"""

import numpy as np
import pytest
import torch
from d2video.projects.trackformer.network.base import (
    FrameFeatures,
    NetworkOutput,
    Pyramid,
    TrackQueries,
)
from d2video.projects.trackformer.tracker.tracker import TrackedFrame, Tracker
from torch import Tensor

from d2video.structures.boxes import box_cxcywh_to_xyxy
from d2video.structures.padding import pad_clips
from d2video.utils.nearest_sampling import resize_nearest
from tests.projects.TrackFormer.golden_models import golden_model, golden_network, load_golden

ATOL = 1e-4
TRACKING = [
    "3_tracking_a_deformable",
    "3_tracking_b_deformable_multi_frame",
    "3_tracking_e_detr_track_attention",
    "3_tracking_f_detr_masks",
]


def close(ours: Tensor, golden: Tensor, atol: float = ATOL) -> None:
    torch.testing.assert_close(ours, golden, rtol=0, atol=atol)


def run(
    network, images: Tensor, padding: Tensor | None, previous=(), tracks=None
) -> tuple[NetworkOutput, Pyramid, FrameFeatures]:
    features = network.features(images, padding)
    pyramid = network.project(features)
    return network(features, pyramid, list(previous), tracks), pyramid, features


def check(output: NetworkOutput, data: dict, prefix: str) -> None:
    """All layers' logits and boxes, and the embeddings."""
    depth = len(output.logits)
    for layer in range(depth):
        name = prefix if layer == depth - 1 else f"{prefix}aux{layer}/"
        close(output.logits[layer], data[f"{name}pred_logits"])
        close(output.boxes[layer], data[f"{name}pred_boxes"])
    assert f"{prefix}aux{depth - 1}/pred_logits" not in data
    close(output.embeddings, data[f"{prefix}hs_embed"])


@pytest.mark.parametrize("file", ["a_plain", "c_two_stage"])
@torch.no_grad()
def test_detection_on_a_padded_batch(file):
    weights, data, config = load_golden(f"2_deformable_detr_{file}")
    network = golden_network(weights, config)
    images = [data[f"img{b}"].float() for b in range(2)]
    canvas, padding = pad_clips([image[None] for image in images])
    output, _, _ = run(network, canvas[:, 0], padding)
    check(output, data, "out/")
    assert (output.proposals is not None) == (file == "c_two_stage")
    if output.proposals is not None:
        close(output.proposals.logits[-1], data["out/enc_outputs/pred_logits"])
        close(output.proposals.boxes[-1], data["out/enc_outputs/pred_boxes"])


@torch.no_grad()
def test_detections():
    """Scores, classes and boxes in pixels: of the padded batch, and of an image by itself."""
    weights, data, config = load_golden("2_deformable_detr_a_plain")
    every_class = Tracker(tracked_classes=None)
    model = golden_model(golden_network(weights, config), config, tracker=every_class)
    canvas, padding = pad_clips([data[f"img{b}"][None] for b in range(2)])
    output, _, _ = run(model.network, canvas[:, 0], padding)
    for b, (height, width) in enumerate(data["target_sizes"].tolist()):
        scores, classes = model.best_classes(output.logits[-1, b])
        close(scores, data[f"post{b}/scores"])
        assert torch.equal(classes, data[f"post{b}/labels"])
        boxes = box_cxcywh_to_xyxy(output.boxes[-1, b]) * torch.tensor([width, height] * 2)
        close(boxes, data[f"post{b}/boxes"], ATOL * width)
    # The first image is not padded in its batch.
    height, width = data["target_sizes"][0].tolist()
    answer = model([{"image": data["img0"], "height": height, "width": width}])[0]
    found = answer["instances"]
    close(found.scores, data["post0/scores"])
    assert torch.equal(found.pred_classes, data["post0/labels"])
    close(found.pred_boxes.tensor, data["post0/boxes"], ATOL * width)


@pytest.mark.parametrize("file", TRACKING)
@torch.no_grad()
def test_track_queries_of_a_second_frame(file):
    weights, data, config = load_golden(file)
    network = golden_network(weights, config)
    first, earlier, _ = run(network, data["inf/frame1"][None], None)
    check(first, data, "inf/out1/")
    tracks = TrackQueries(
        data["inf/track_query_hs_embeds"][None], data["inf/track_query_boxes"][None]
    )
    second, current, features = run(network, data["inf/frame2"][None], None, [earlier], tracks)
    check(second, data, "inf/out2/")
    # The last layer alone, as at inference.
    last = network(features, current, [earlier], tracks, all_layers=False)
    for name in ("logits", "boxes"):
        close(getattr(last, name), getattr(second, name)[-1:], 1e-5)
    assert (second.masks is not None) == config["args"]["masks"]
    if second.masks is not None:
        rows = torch.arange(second.logits.shape[2])
        masks = network.mask_branch(second.encoded, torch.zeros_like(rows), rows)
        close(masks, data["inf/out2/pred_masks"][0])


class Recorder:
    """In place of a tracker: asks the golden track queries and keeps what the stream says."""

    def __init__(self, queries: list[tuple[np.ndarray, np.ndarray]]):
        self.asked = queries
        self.outputs = []

    def queries(self, image_size):
        return self.asked.pop(0)

    def update(self, output, image_size, public_detections):
        self.outputs.append(output)
        nothing = np.zeros(0, np.int64)
        return TrackedFrame(nothing, np.zeros((0, 4)), np.zeros(0), nothing)


@pytest.mark.parametrize("file", TRACKING)
@torch.no_grad()
def test_what_the_tracker_reads(file):
    """Scores, classes, boxes and mask probabilities, through a stream of two frames."""
    weights, data, config = load_golden(file)
    model = golden_model(golden_network(weights, config), config)
    height, width = data["inf/orig_size"][0].tolist()
    # The official masks are of another size than the boxes.
    stream = model.new_stream((48, 64))
    tracks = (data["inf/track_query_hs_embeds"].numpy(), data["inf/track_query_boxes"].numpy())
    stream.tracker = Recorder([(np.zeros((0, 0)), np.zeros((0, 4))), tracks])
    for name in ("frame1", "frame2"):
        stream.step(data[f"inf/{name}"])
    for output, name in zip(stream.tracker.outputs, ("post1", "post2"), strict=True):
        close(torch.from_numpy(output.scores), data[f"inf/{name}/scores"])
        assert torch.equal(torch.from_numpy(output.classes), data[f"inf/{name}/labels"])
        boxes = box_cxcywh_to_xyxy(torch.from_numpy(output.boxes))
        boxes = boxes * torch.tensor([width, height] * 2)
        close(boxes, data[f"inf/{name}/boxes"], ATOL * width)
        assert (output.masks is not None) == config["args"]["masks"]
    if output.masks is not None:
        # Row by row: the masks of this network are much alike, so that rounding decides whose a pixel is.
        for row in (3, 0, 2):
            _, probability = output.masks(np.array([row]))
            ours = torch.from_numpy(resize_nearest(probability, (48, 64)))
            close(ours, data["inf/post2/masks"][row, 0])


@torch.no_grad()
def test_order_of_frames_matters():
    """The golden values tell the previous frame from the current one."""
    weights, data, config = load_golden("3_tracking_b_deformable_multi_frame")
    network = golden_network(weights, config)
    frames = [data["inf/frame1"][None], data["inf/frame2"][None]]
    alone, first, _ = run(network, frames[0], None)
    output, second, features = run(network, frames[1], None, [first])
    swapped = network(features, first, [second], None)
    for other in (swapped, alone, network(features, second, [], None)):
        assert (output.boxes - other.boxes).abs().max() > 0.01

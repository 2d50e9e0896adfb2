"""Network and tracker together on eight frames of a real video, against the official run."""

import pytest
import torch
from d2video.projects.trackformer.tracker.official import OfficialTracker
from detectron2.structures import Instances

from tests.projects.TrackFormer.golden_models import golden_model, golden_network, load_golden
from tests.projects.TrackFormer.network.test_golden_network import close

# As arguments of ours.
SETTINGS = {
    "detection_obj_score_thresh": "detection_score_thresh",
    "track_obj_score_thresh": "track_score_thresh",
    "detection_nms_thresh": "detection_nms_thresh",
    "track_nms_thresh": "track_nms_thresh",
    "steps_termination": "steps_termination",
    "inactive_patience": "inactive_patience",
    "reid_sim_threshold": "reid_similarity_thresh",
    "reid_sim_only": "reid_similarity_only",
    "reid_score_thresh": "reid_score_thresh",
    "reid_greedy_matching": "reid_greedy",
}
SIZE = (720, 1280)


@pytest.fixture(scope="module")
def golden() -> tuple:
    """The model, the frames as the network takes them, and the official answers."""
    weights, data, config = load_golden("6_end_to_end_detr")
    arguments = {ours: config["tracker_cfg"][theirs] for theirs, ours in SETTINGS.items()}
    # The random model's most likely class is what it is: in the official run, every query counts
    # whose best class is the first one.
    model = golden_model(
        golden_network(weights, config), config, tracker=OfficialTracker(**arguments)
    )
    frames = data["frames_rgb_uint8"].permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    frames = (frames - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    return model, frames, data, config


def check_frame(found: Instances, index: int, config: dict) -> None:
    active = config["per_frame"][index]["active"]
    assert found.track_ids.tolist() == active
    rows = [config["results"][str(track)][str(index)] for track in active]
    # Pixels of an image of 1280x720; float32 noise of the boxes is 1e-6 of that.
    boxes = torch.tensor([row["bbox"] for row in rows])
    close(found.pred_boxes.tensor, boxes, 0.02)
    close(found.scores, torch.tensor([row["score"] for row in rows]), 1e-4)


def test_stream(golden):
    model, frames, data, config = golden
    outputs = []
    hook = model.network.register_forward_hook(lambda _, inputs, output: outputs.append(output))
    for index, found in enumerate(model.stream_video(iter(frames), SIZE)):
        check_frame(found, index, config)
        close(outputs[-1].logits[-1], data[f"frame{index}/out_pred_logits"], 2e-4)
        close(outputs[-1].boxes[-1], data[f"frame{index}/out_pred_boxes"])
    hook.remove()
    assert index == 7
    assert len(outputs) == 8


def test_whole_video(golden):
    model, frames, _, config = golden
    video = {"image": list(frames), "height": SIZE[0], "width": SIZE[1]}
    answer = model([video])[0]
    assert answer["image_size"] == SIZE
    assert len(answer["frames"]) == 8
    for index, found in enumerate(answer["frames"]):
        check_frame(found, index, config)

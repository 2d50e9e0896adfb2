"""Deformable DETR as a detector: its files load directly and answer as the official ones."""

import numpy as np
import pytest
import torch
from d2video.projects.trackformer import DeformableDETR
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from d2video.checkpoint import CONVERTER_REGISTRY, VideoCheckpointer, to_foreign
from d2video.inference import Images, Predictor
from d2video.inspection import Look, Points, inspect, record_queries
from d2video.modeling.criterion import SetCriterion
from d2video.modeling.losses import Focal
from d2video.modeling.matcher import HungarianMatcher, MatchingCost
from d2video.structures.boxes import box_cxcywh_to_xyxy
from d2video.utils.errors import UserError
from tests.helpers.hugging_face import hub_images, hub_model, saved, small_cfg
from tests.projects.TrackFormer.golden_models import golden_network, load_golden

# Config, and what the Hub's config says of the same model.
VARIANTS = {
    "R50_single_scale": {"num_feature_levels": 1},
    "R50": {},
    "R50_box_refine": {"with_box_refine": True},
    "R50_two_stage": {
        "with_box_refine": True,
        "two_stage": True,
        "two_stage_num_proposals": 5,
    },
}


def small_model(variant: str, *opts) -> DeformableDETR:
    torch.manual_seed(0)
    return build_model(small_cfg(f"DeformableDETR/deformable_detr_{variant}", *opts)).eval()


@pytest.mark.parametrize("original", [True, False], ids=["release 4", "release 5"])
@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_files_of_hugging_face(tmp_path, variant, original):
    theirs = hub_model("DeformableDetrForObjectDetection", **VARIANTS[variant])
    ours = small_model(variant)
    path = saved(theirs, tmp_path, save_original_format=original)
    VideoCheckpointer(ours, strict=True).load(str(path))
    images, padding = hub_images()
    expected = theirs(pixel_values=images, pixel_mask=(~padding).long())
    found = ours.predict(images, padding, all_layers=False)
    assert (found.logits[-1] - expected.logits).abs().max() < 1e-4
    assert (found.boxes[-1] - expected.pred_boxes).abs().max() < 1e-5


def test_files_of_hugging_face_with_refinement_whose_decoder_shares_its_heads(tmp_path):
    """Release 4 left out the second names, "model.decoder.bbox_embed"."""
    from safetensors.torch import load_file, save_file

    theirs = hub_model("DeformableDetrForObjectDetection", **VARIANTS["R50_box_refine"])
    state = load_file(saved(theirs, tmp_path))
    ours = small_model("R50_box_refine")
    VideoCheckpointer(ours, strict=True).load(str(tmp_path / "model.safetensors"))
    renamed = {
        name.replace("model.decoder.bbox_embed", "bbox_embed"): v for name, v in state.items()
    }
    assert renamed.keys() != state.keys()
    save_file(renamed, tmp_path / "model.safetensors")
    again = small_model("R50_box_refine")
    VideoCheckpointer(again, strict=True).load(str(tmp_path / "model.safetensors"))
    state = ours.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())
    plain = small_model("R50")
    with pytest.raises(UserError, match="unknown"):
        VideoCheckpointer(plain, strict=True).load(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("variant", [*VARIANTS, "R50_single_scale_DC5"])
def test_official_files_load(tmp_path, variant):
    first, second = small_model(variant), small_model(variant)
    for value in second.state_dict().values():
        value.zero_()
    state = first.state_dict()
    fmt = CONVERTER_REGISTRY["DeformableDETR"]["deformable_detr"]
    torch.save({"model": to_foreign(state, state, fmt)}, tmp_path / "official.pth")
    VideoCheckpointer(second, strict=True).load(str(tmp_path / "official.pth"))
    assert all(torch.equal(value, state[name]) for name, value in second.state_dict().items())


def golden_detector(**arguments) -> tuple[DeformableDETR, dict]:
    weights, data, config = load_golden("2_deformable_detr_a_plain")
    model = DeformableDETR(
        network=golden_network(weights, config),
        criterion=SetCriterion(20, Focal(), []),
        pixel_mean=[0.0, 0.0, 0.0],
        pixel_std=[1.0, 1.0, 1.0],
        **arguments,
    )
    return model.eval(), data


def test_answers_are_the_best_pairs_of_query_and_class():
    """As the official post-processing of COCO: the 100 best probabilities, whatever their query."""
    model, data = golden_detector(max_detections=30)
    samples = [
        {"image": data[f"img{b}"], "height": int(size[0]), "width": int(size[1])}
        for b, size in enumerate(data["target_sizes"])
    ]
    for b, answer in enumerate(model(samples)):
        found, (height, width) = answer["instances"], data["target_sizes"][b].tolist()
        probabilities = data["out/pred_logits"][b].sigmoid().numpy()
        best = np.argsort(-probabilities, axis=None)[:30]
        queries, classes = np.unravel_index(best, probabilities.shape)
        boxes = box_cxcywh_to_xyxy(data["out/pred_boxes"][b])[queries]
        boxes = boxes * torch.tensor([width, height] * 2)
        np.testing.assert_allclose(found.scores, probabilities.flat[best], atol=1e-4)
        assert found.pred_classes.tolist() == classes.tolist()
        assert len({*queries}) < 30  # some queries answer with several classes
        torch.testing.assert_close(found.pred_boxes.tensor, boxes, rtol=0, atol=1e-4 * width)


def test_scores_below_the_threshold_and_logits_of_no_class_are_left_out():
    model, data = golden_detector(max_detections=30, class_logits=[3, 7])
    sample = {"image": data["img0"]}
    all_found = model([sample])[0]["instances"]
    assert {*all_found.pred_classes.tolist()} == {0, 1}
    model.score_threshold = float(all_found.scores[4])
    assert len(model([sample])[0]["instances"]) == 5


def test_objects_are_followed_through_a_video():
    """As by DETR: by the embeddings of its queries."""
    node = "MODEL.DETR.LINKING"
    scores = [f"{node}.NEW_SCORE", 0.0, f"{node}.LOW_SCORE", 0.0]
    model = small_model("R50", "MODEL.DETR.LINK", True, *scores)
    frames = torch.randint(0, 256, (3, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    answers = [a["instances"] for a in model.stream_video(frames.float(), (64, 64))]
    assert all(found.has("track_ids") for found in answers)
    assert len(answers) == 3
    assert {*answers[0].track_ids.tolist()} & {*answers[2].track_ids.tolist()}


@pytest.mark.parametrize("variant", ["R50", "R50_two_stage"])
def test_training(variant):
    model = small_model(variant).train()
    instances = Instances((64, 64))
    instances.gt_boxes = Boxes(torch.tensor([[4.0, 5, 30, 40], [20, 20, 60, 50]]))
    instances.gt_classes = torch.tensor([1, 3])
    image = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(0))
    with EventStorage():
        losses = model([{"image": image.float(), "instances": instances}])
    assert ("loss_ce_enc" in losses) == (variant == "R50_two_stage")
    sum(losses.values()).backward()
    trained = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is not None]
    assert any("sampling_offsets" in name for name in trained)


def test_masks_are_refused():
    with pytest.raises(UserError, match="MODEL.MASK_ON is True: DeformableDETR has no masks"):
        small_model("R50", "MODEL.MASK_ON", True)


def test_the_matching_cost_is_of_independent_classes():
    cost = MatchingCost(2.0, 5.0, 2.0, focal=True)
    assert small_model("R50").matcher.cost == HungarianMatcher(cost).cost


@pytest.mark.parametrize("variant", ["R50", "R50_two_stage"])
@torch.no_grad()
def test_inspection_shows_points_around_the_references(variant, tmp_path):
    """The first weights point in all directions alike, so that the mean over the heads is the reference."""
    model, image = small_model(variant), np.zeros((48, 64, 3), np.uint8)
    look = Look(
        Predictor(model=model, min_size=48, max_size=64), Images("black", [image]), tmp_path
    )
    look.queries = [3, 0]
    titles = ["Encoder self-attention", "Decoder cross-attention", "Decoder layers"]
    assert [section.title for section in inspect(look)][-3:] == titles
    [item] = look.inputs([image])
    canvas, padding = model.batch([item[None]])
    run = record_queries(model.network, lambda: model.predict(canvas[:, 0], padding))
    points = run.decoder_attention(look.queries)
    assert isinstance(points, Points)
    if variant == "R50":
        query_pos, _ = model.network.query_embed.weight[look.queries].chunk(2, dim=-1)
        reference = model.network.reference_points(query_pos).sigmoid()
    else:
        reference = run.predictions.boxes[-2, 0, look.queries, :2]
    centres = points.locations.mean((1, 2, 3))
    torch.testing.assert_close(centres, reference, rtol=0, atol=1e-5)  # sums of float32 below 10
    torch.testing.assert_close(points.weights.sum((2, 3)), torch.ones(points.weights.shape[:2]))

"""Tracks and their attention, and queries and objects of a training step, as the page shows them."""

import shutil
from collections import Counter
from pathlib import Path

import cv2
import pytest
import torch
from d2video.projects.trackformer.inspection import lengths_of_tracks
from d2video.projects.trackformer.inspection_pairs import match_sample, training_samples
from d2video.projects.trackformer.inspection_tracks import Step, follow, score_courses

from d2video.data import register_path
from d2video.data.class_matching import ClassMatch
from d2video.inference import Predictor, open_source
from d2video.inspection import Look, Maps, Points, inspect
from d2video.synthetic import ShapesSpec, write_mot_shapes
from d2video.utils.errors import UserError
from tests.projects.TrackFormer.tiny import NODE, build, make_pair, tiny_cfg
from tests.projects.TrackFormer.tracker.test_video_stream import make_video

FRAMES = 3


class Recorder:
    """The inputs of the decoder's last cross-attention, and the network's outputs, frame by frame."""

    def __init__(self, model):
        self.inputs, self.outputs = [], []
        self.attention = list(self._attentions(model))[-1]
        self.attention.register_forward_pre_hook(lambda _, inputs: self.inputs.append(inputs))
        model.network.register_forward_hook(lambda *call: self.outputs.append(call[-1]))

    @staticmethod
    def _attentions(model):
        for layer in model.network.transformer.decoder.layers:
            yield layer.cross_attn if hasattr(layer, "cross_attn") else layer.multihead_attn

    def rows(self, index, step):
        """The queries that predict the boxes of a step; all boxes of these models differ."""
        distance = torch.cdist(step.boxes, self.outputs[index].boxes[-1, 0])
        # Float32 noise of boxes that went through pixels.
        assert (distance.min(1).values < 1e-6).all()
        return distance.argmin(1)


@pytest.mark.parametrize("variant", ["multi_frame", "joint_encoder", "track_links"])
@torch.no_grad()
def test_points_are_those_of_the_query_that_shows_the_track(variant):
    """The current frame first: that half of the memory which does not depend on the frame before."""
    model, video = build(variant).eval(), make_video(FRAMES)
    for layer in model.network.transformer.encoder.layers:  # each token sees only itself
        torch.nn.init.zeros_(layer.self_attn.output_proj.weight)
    seen = Recorder(model)
    for linear in (seen.attention.sampling_offsets, seen.attention.attention_weights):
        torch.nn.init.normal_(linear.weight, std=0.1)  # other points in each frame
    steps = [*follow(model, video)]
    other = [*follow(model, [*make_video(FRAMES - 1, seed=1), video[-1]])][-1]
    frames = model.network.transformer.num_frames
    memories = [inputs[2][0].unflatten(0, (frames, -1)) for inputs in seen.inputs]
    same = [torch.equal(*halves) for halves in zip(memories[FRAMES - 1], memories[-1], strict=True)]
    assert sum(same) == 1
    assert len(other.ids)
    current = same.index(True)
    levels = seen.attention.num_levels // frames
    for index, step in enumerate(steps):
        rows = seen.rows(index, step)
        query, reference, _, sizes = seen.inputs[index][:4]
        offsets = seen.attention.sampling_offsets(query).unflatten(-1, (4, -1, 2, 2))
        weights = seen.attention.attention_weights(query).unflatten(-1, (4, -1)).softmax(-1)
        reference = reference[0, rows][:, None, :, None]
        if reference.shape[-1] == 2:
            reference = reference + offsets[0, rows] / torch.tensor(sizes).flip(-1)[:, None]
        else:
            reference = reference[..., :2] + offsets[0, rows] * reference[..., 2:] / 4
        attention = step.attention
        assert isinstance(attention, Points)
        for k, place in enumerate([current, 1 - current][:frames]):
            of_frame = slice(place * levels, (place + 1) * levels)
            expected = reference[:, :, of_frame].flatten(2, 3)
            # Sums of two numbers below 10 in float32.
            torch.testing.assert_close(attention.locations[:, :, k], expected, rtol=0, atol=1e-5)
            share = weights[0, rows].unflatten(-1, (-1, 2))[:, :, of_frame].flatten(2)
            torch.testing.assert_close(attention.weights[:, :, k], share, rtol=0, atol=1e-6)
        total = sum(attention.by_frame(0)) if len(step.ids) else torch.tensor(1.0)
        torch.testing.assert_close(total, torch.tensor(1.0))


@torch.no_grad()
def test_maps_are_the_mean_of_the_heads():
    model = build("detr").eval()
    seen = Recorder(model)
    for index, step in enumerate(follow(model, make_video(FRAMES))):
        rows = seen.rows(index, step)
        query, key = seen.inputs[index][:2]
        weight, bias = (
            p.chunk(3) for p in (seen.attention.in_proj_weight, seen.attention.in_proj_bias)
        )
        q, k = (
            (x[0] @ weight[i].T + bias[i]).unflatten(-1, (4, -1)).transpose(0, 1)
            for i, x in enumerate((query, key))
        )
        expected = (q @ k.transpose(1, 2) / 8**0.5).softmax(-1).mean(0)[rows]
        assert isinstance(step.attention, Maps)
        # Sums of 32 products in float32.
        torch.testing.assert_close(step.attention.weights.flatten(1), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["merged", "detr_track_attention"])
def test_looking_changes_no_answer(variant):
    model, video = build(variant).eval(), make_video(FRAMES)
    size = (video[0].shape[1], video[0].shape[2])
    active, _ = score_courses([*follow(model, video)])
    expected = {}
    for frame, answer in enumerate(model.stream_video(iter(video), size)):
        for track, score in zip(answer.track_ids.tolist(), answer.scores.tolist(), strict=True):
            expected.setdefault(track, {})[frame] = score
    # A track that is suppressed was active and has a score, too.
    assert expected.keys() == active.keys()
    assert all(scores.items() <= dict(active[track]).items() for track, scores in expected.items())


def step(asked, num_active, asked_scores, ids, scores):
    numbers = torch.tensor(ids, dtype=torch.int64)
    attention = Maps(torch.ones(len(ids), 1, 1, 1, 1))
    return Step(
        *(torch.tensor(asked, dtype=torch.int64), num_active, torch.tensor(asked_scores)),
        *(numbers, torch.tensor(scores), numbers, torch.zeros(len(ids), 4), attention),
    )


def test_scores_of_active_and_inactive_tracks():
    steps = [
        step([], 0, [], [0, 1], [0.5, 0.75]),
        step([0, 1], 2, [0.25, 1.0], [1], [1.0]),  # 0 becomes inactive
        step([1, 0], 1, [0.5, 0.125], [1, 0], [0.5, 0.75]),  # a detection brings it back
        step([1, 0], 2, [0.5, 0.25], [1, 0], [0.5, 0.75]),  # not seen, but still active
    ]
    active, inactive = score_courses(steps, 10)
    assert active == {
        0: [(10, 0.5), (11, 0.25), (12, 0.75), (13, 0.25)],
        1: [(10, 0.75), (11, 1.0), (12, 0.5), (13, 0.5)],
    }
    assert inactive == {0: [(12, 0.125)]}
    assert [*lengths_of_tracks(steps).items()] == [(1, 4), (0, 3)]
    assert lengths_of_tracks(steps, 0.67) == {1: 4}


@pytest.mark.parametrize(
    ("dropped", "added", "kinds"),
    [
        (0.0, 0.0, {"kept": 2, "new": 1, "gone": 1}),
        (1.0, 0.0, {"false negative": 2, "new": 1}),
        (0.0, 1.0, {"kept": 2, "new": 1, "gone": 1, "false positive": 3}),
    ],
)
def test_pairs_of_a_training_step(dropped, added, kinds):
    """Objects 0 and 1 stay, 2 is new, and 3 is gone."""
    options = (f"{NODE}.FALSE_NEGATIVE_PROB", dropped, f"{NODE}.FALSE_POSITIVE_PROB", added)
    matching = match_sample(build("detr", *options), make_pair((0, 2, 1), (3, 0, 1)))
    pairs = matching.pairs
    assert Counter(pair.kind for pair in pairs) == kinds
    count = len(matching.track_boxes)
    for pair in pairs:
        assert (pair.target is None) == (pair.kind in ("gone", "false positive"))
        assert (pair.query < count) == (pair.kind not in ("new", "false negative"))
    assert [pair.target for pair in pairs if pair.kind == "new"] == [1]
    assert len({pair.query for pair in pairs}) == len(pairs)
    assert matching.boxes.shape == (count + 7, 4)


@pytest.fixture
def data(tmp_path, monkeypatch, scratch_catalog):
    """The name of labelled videos of 4 frames, which lie in this folder."""
    spec = ShapesSpec(height=48, width=64, num_frames=(4, 4))
    write_mot_shapes(tmp_path / "shapes", {"train": 2}, spec, progress=False)
    monkeypatch.chdir(tmp_path)
    return register_path("shapes/train")


def look_at(variant, data=None, **asked):
    """An inspection of the first video."""
    sets = ["DATASETS.TEST", [data], "INPUT.AUGMENTATIONS", []]
    cfg = tiny_cfg(variant, *sets) if data else None
    model = build(variant).eval()
    predictor = Predictor(model=model, min_size=48, max_size=64, class_names=["a", "b", "c"])
    source = open_source("shapes/train/train-0001/img1", takes_images=True)
    return Look(predictor, source, Path("page_files"), cfg=cfg, **asked)


@pytest.mark.parametrize(
    ("variant", "track"), [("three_frames", 2), ("track_links", 2), ("detr", 0)]
)
def test_page(data, variant, track):
    look = look_at(variant, data, tracks=[track], score=1.0)
    sections = inspect(look)
    matching = f"Matching in training, on {data}"
    assert [section.title for section in sections] == [
        "Tracks",
        f"Attention of track {track}",
        matching,
    ]
    strips = {"three_frames": ["", "_before1", "_before2"]}.get(variant, [""])
    names = ["tracks", *(f"track{track}{strip}" for strip in strips)]
    files = [Path(media.file) for section in sections for media in section.media]
    assert [file.stem for file in files[: len(names)]] == names
    assert len(files) == len(names) + 3
    assert {*files} == {*Path("page_files").iterdir()}
    height, width, _ = cv2.imread(str(files[1])).shape
    assert (height, width) == (240, 4 * 320)
    tracks = sections[0].tables[0].rows
    assert sum(row[4] for row in tracks) >= 4
    # Every object is in the table of its sample.
    samples = training_samples(look.cfg, data, None, 3)
    for table, sample in zip(sections[-1].tables, samples, strict=True):
        shown = {row[2] for row in table.rows} - {"none"}
        assert shown == {str(number) for number in sample["instances"].gt_ids.tolist()}


def test_a_model_that_finds_nothing(data):
    look = look_at("detr")
    look.predictor.model._tracker.detection_score_thresh = 1.0
    titles = {section.title: section for section in inspect(look)}
    assert "lower MODEL.TRACKFORMER.TRACKER.DETECTION_SCORE" in titles["Tracks"].notes[0]
    assert "needs labels: name a dataset by --data" in titles["Matching in training"].notes[0]


def test_samples_are_always_the_same_and_of_the_models_classes(data):
    cfg = tiny_cfg("detr")
    classes = ClassMatch(("none", "shape", "other"), ("shape", "new"))
    first, second = ([*training_samples(cfg, data, match, 2)] for match in (None, classes))
    for sample, renamed in zip(first, second, strict=True):
        assert torch.equal(sample["image"], renamed["image"])
        assert (renamed["instances"].gt_classes == sample["instances"].gt_classes + 1).all()
    assert any(len(sample["instances"]) for sample in first)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"tracks": [99]}, "track 99 does not exist in these 4 frames: the model found 0"),
        ({"layer": 2}, "layer 2 does not exist: the decoder has 0 to 1"),
        (
            {"queries": [1]},
            "--queries changes nothing on the page of TrackFormer",
        ),
        ({"points": [(1, 1)]}, "--points changes nothing on the page of TrackFormer"),
        ({"first": 4}, "has 0 frames from number 4 on"),
    ],
)
def test_mistakes(data, asked, message):
    with pytest.raises(UserError, match=message):
        inspect(look_at("detr", **asked))


def test_labels_are_needed(data):
    shutil.rmtree("shapes/train/train-0001/gt")
    shutil.rmtree("shapes/train/train-0002/gt")
    with pytest.raises(UserError, match="has no labels"):
        [*training_samples(tiny_cfg("detr"), register_path("shapes/train"), None, 1)]

"""The meta-architecture: training, the ways of inference, views, and following a video."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from d2video.projects.vtn import VTN, TemporalEncoder
from d2video.projects.vtn.converter import pyslowfast_name
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from detectron2.utils.events import EventStorage
from torch import nn

from d2video.inference.push_stream import PushStream
from d2video.modeling.pixels import INFERENCE_ELEMENTS
from d2video.utils.errors import UserError
from tests.helpers.golden_io import GOLDEN
from tests.projects.VTN.tiny import NODE, build, losses_of, make_clip, tiny_cfg

# Other sums in another order, float32, values of order 1.
CLOSE = {"rtol": 0, "atol": 1e-5}


class LazyFrames:
    """Frames that are made when they are asked for; counts them and those alive."""

    def __init__(self, frames):
        self.frames = frames
        self.asked = []

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, index):
        if index >= len(self.frames):
            raise IndexError(index)
        self.asked.append(index)
        return self.frames[index].clone()


# ---- the official model -------------------------------------------------------------------------


class Flatten(Backbone):
    """The golden model's backbone: no parameters, pixels in the official order of features."""

    def output_shape(self):
        return {"pixels": ShapeSpec(channels=48)}

    def forward(self, frames):
        return {"pixels": frames.flatten(1)[..., None, None]}


@pytest.fixture(scope="module")
def golden():
    archive = np.load(GOLDEN / "vtn_temporal_tiny.npz")
    return {key: torch.from_numpy(archive[key]) for key in archive.files}


def golden_model(golden):
    model = VTN(
        backbone=Flatten(),
        temporal_encoder=TemporalEncoder(
            48, 4, 2, 96, 8, 64, position_rule="modulus", mask_repeats=False
        ),
        num_classes=10,
        mlp_dim=40,
        pixel_mean=[0.0] * 3,
        pixel_std=[1.0] * 3,
    )
    state = {name: golden[f"sd.{pyslowfast_name(name)}"] for name in model.state_dict()}
    model.load_state_dict(state)
    return model.eval()


@pytest.mark.parametrize("case", ["f40", "f37", "f16", "f47"])
def test_logits_are_the_official_ones(golden, case):
    model = golden_model(golden)
    features, index = golden[f"{case}.features"], golden[f"{case}.frame_index"]
    with torch.no_grad():
        logits = model.classify(features, index)
    # Of values up to 4; the official code itself is 7e-6 from float64.
    torch.testing.assert_close(logits, golden[f"{case}.window8.logits"], rtol=0, atol=2e-5)
    # Frames as the mapper gives them: 48 numbers are 3 x 4 x 4 pixels.
    video = {"image": features[0].unflatten(-1, (3, 4, 4)), "frame_index": index[0]}
    expected = golden[f"{case}.window8.logits"][0].softmax(-1)
    torch.testing.assert_close(model([video])[0]["scores"], expected, rtol=0, atol=1e-5)


def test_loss_and_gradients_are_the_official_ones(golden):
    model = golden_model(golden)
    features = golden["f37.features"].requires_grad_()
    clips = [
        {"image": features[i].unflatten(-1, (3, 4, 4)), "frame_index": index, "label": int(label)}
        for i, (index, label) in enumerate(zip(golden["f37.frame_index"], golden["f37.labels"]))
    ]
    model.training = True  # its parts are not: no dropout
    loss = losses_of(model, clips)["loss_cls"]
    torch.testing.assert_close(loss, golden["f37.loss"], rtol=0, atol=2e-5)
    loss.backward()
    torch.testing.assert_close(features.grad, golden["f37.grad.features"], rtol=0, atol=1e-5)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            expected = golden[f"f37.grad.{pyslowfast_name(name)}"]
            torch.testing.assert_close(parameter.grad, expected, rtol=0, atol=1e-5)


# ---- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["resnet", "vit"])
def test_training_reaches_every_parameter(backbone):
    model = build(backbone).train()
    batch = [make_clip(6, label=1), make_clip(6, label=4, seed=1)]
    with EventStorage() as storage:
        losses = model(batch)
        assert 0 <= storage.latest()["top1_accuracy"][0] <= 100
    assert list(losses) == ["loss_cls"]
    losses["loss_cls"].backward()
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


def test_clips_of_different_lengths_do_not_see_each_other():
    model = build("vit")
    clips = [make_clip(9, label=0), make_clip(4, label=3, seed=1)]
    model.training = True  # its parts are not: no dropout
    together = losses_of(model, clips)["loss_cls"]
    alone = [losses_of(model, [clip])["loss_cls"] for clip in clips]
    torch.testing.assert_close(together, torch.stack(alone).mean(), **CLOSE)


def test_a_frozen_backbone_stays_as_it_is():
    model = build("resnet", f"{NODE}FREEZE_BACKBONE", True)
    before = {k: v.clone() for k, v in model.frame_encoder.state_dict().items()}
    model.train()
    losses_of(model, [make_clip()])["loss_cls"].backward()
    assert all(p.grad is None for p in model.frame_encoder.parameters())
    assert model.projection.weight.grad is not None
    for name, value in model.frame_encoder.state_dict().items():  # BatchNorm's statistics, too
        assert torch.equal(value, before[name]), name


def test_projection_only_where_widths_differ():
    assert isinstance(build("vit").projection, nn.Identity)
    projection = build("resnet").projection
    assert isinstance(projection, nn.Linear)
    assert (projection.in_features, projection.out_features) == (64, 32)  # res4, not res3


def test_a_new_backbone_is_one_registration():
    if "TinyMeanColour" not in BACKBONE_REGISTRY:

        @BACKBONE_REGISTRY.register()
        class TinyMeanColour(Backbone):
            def __init__(self, cfg, input_shape):
                super().__init__()

            def output_shape(self):
                return {"pixels": ShapeSpec(channels=3)}

            def forward(self, frames):
                return {"pixels": frames}

    model = build("resnet", "MODEL.BACKBONE.NAME", "TinyMeanColour")
    clip = make_clip()
    expected = model.frame_encoder.normalize(clip["image"]).mean((-2, -1))
    torch.testing.assert_close(model.frame_encoder(clip["image"]), expected)
    assert model([clip])[0]["scores"].shape == (5,)


# ---- inference ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["resnet", "vit"])
def test_three_ways_of_inference_agree(backbone, monkeypatch):
    """Whole video end to end; frames in chunks, decoded lazily; features extracted beforehand."""
    model, clip = build(backbone), make_clip(11)
    index = clip["frame_index"]
    with torch.no_grad():
        features = model.frame_encoder(clip["image"])
        expected = model.classify(features[None], index[None])[0].softmax(-1)
    assert expected.max() < 0.9  # not saturated
    for frames_at_once in (1, 4, 100):
        monkeypatch.setitem(INFERENCE_ELEMENTS, "cpu", frames_at_once * 16 * 32 * 32)
        for frames in (clip["image"], LazyFrames(clip["image"])):
            (answer,) = model([{"views": [{"image": frames, "frame_index": index}]}])
            torch.testing.assert_close(answer["scores"], expected, **CLOSE)
            assert answer["scores"].dtype == torch.float32
    (answer,) = model([{"features": features, "frame_index": index, "video_id": 3}])
    torch.testing.assert_close(answer["scores"], expected, **CLOSE)
    assert answer["video_id"] == 3


def test_frames_go_through_the_backbone_a_few_at_a_time(monkeypatch):
    model, frames = build(), LazyFrames(make_clip(7)["image"])
    sizes, asked = [], []
    forward = model.frame_encoder.backbone.forward

    def recorded(x):
        sizes.append(len(x))
        asked.append(len(frames.asked))
        return forward(x)

    monkeypatch.setattr(model.frame_encoder.backbone, "forward", recorded)
    view = {"image": frames, "frame_index": torch.arange(7)}
    monkeypatch.setitem(INFERENCE_ELEMENTS, "cpu", 3 * 16 * 32 * 32)
    model([view])
    assert sizes == [3, 3, 1]
    assert asked == [3, 6, 7]  # none is read before its turn


def test_repeated_frames_are_computed_once():
    model, clip = build(), make_clip(4)
    index = torch.tensor([0, 0, 3, 3, 3, 5, 9])
    frames = clip["image"][[0, 0, 1, 1, 1, 2, 3]]
    seen = []
    model.frame_encoder.backbone.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    features = model.frame_encoder.encode_video(frames, index)
    assert seen == [4]
    with torch.no_grad():
        torch.testing.assert_close(features, model.frame_encoder(frames), **CLOSE)
        # Frames that changed places keep their numbers.
        shuffled = frames[[3, 6, 1, 0, 5, 2, 4]]
        features = model.frame_encoder.encode_video(shuffled, index)
        torch.testing.assert_close(features, model.frame_encoder(shuffled), **CLOSE)


@pytest.mark.parametrize("sum_logits", [False, True])
def test_several_views(sum_logits):
    model = build("vit", f"{NODE}SUM_LOGITS", sum_logits)
    views = [make_clip(length, seed=length) for length in (5, 8, 5)]
    with torch.no_grad():
        logits = torch.cat([model._view_logits(view) for view in views])
    mean = logits.sum(0).softmax(-1) if sum_logits else logits.softmax(-1).mean(0)
    (answer,) = model([{"views": views, "video_id": 1}])
    torch.testing.assert_close(answer["scores"], mean, **CLOSE)
    assert float(answer["scores"].sum()) == pytest.approx(1)


# ---- following a video --------------------------------------------------------------------------


def stream(model, frames, size=(32, 32)):
    return [answer["class_scores"] for answer in model.stream_video(iter(frames), size)]


def offline(model, frames, step=1):
    index = torch.arange(0, len(frames), step)
    return model([{"image": frames[::step], "frame_index": index}])[0]["scores"]


def test_streaming_equals_the_offline_answer_where_it_is_renewed():
    model, frames = build(), make_clip(8)["image"]
    answers = stream(model, frames)
    assert len(answers) == 8
    renewed = {0: 0, 1: 0, 2: 2, 3: 2, 4: 2, 5: 5, 6: 5, 7: 7}  # interval 3; the first; the last
    for frame, last in renewed.items():
        torch.testing.assert_close(answers[frame], offline(model, frames[: last + 1]), **CLOSE)
    assert not torch.allclose(answers[2], answers[5], atol=1e-3)
    model.stream_options["interval"] = 1
    for frame, answer in enumerate(stream(model, frames)):
        torch.testing.assert_close(answer, offline(model, frames[: frame + 1]), **CLOSE)


@pytest.mark.parametrize("interval", [1, 3, 40])
def test_streaming_keeps_a_bounded_number_of_features(interval, monkeypatch):
    """Evenly spread over the video: every fourth of 21 frames where 6 may be kept."""
    model, frames = build("vit"), make_clip(21)["image"]
    model.stream_options |= {"max_frames": 6, "interval": interval}
    lengths = []
    classify = model.classify

    def recorded(features, index):
        lengths.append(features.shape[1])
        return classify(features, index)

    monkeypatch.setattr(model, "classify", recorded)
    answers = stream(model, frames)
    assert max(lengths) <= 6
    monkeypatch.undo()
    torch.testing.assert_close(answers[-1], offline(model, frames, 4), **CLOSE)
    assert len(frames[::4]) == 6


def test_streaming_every_other_frame():
    model, frames = build("resnet", f"{NODE}STREAM_STRIDE", 2), make_clip(7)["image"]
    torch.testing.assert_close(stream(model, frames)[-1], offline(model, frames, 2), **CLOSE)


def test_streaming_cuts_the_middle_out_for_a_vit():
    model, frames = (
        build("vit", "INPUT.CLASSIFICATION.CROP_SIZE_TEST", 32),
        make_clip(3, size=44)["image"],
    )
    answers = stream(model, frames[:, :, :36])
    expected = offline(model, frames[:, :, 2:34, 6:38])
    torch.testing.assert_close(answers[-1], expected, **CLOSE)


def test_a_crop_larger_than_the_frames_is_no_crop_for_a_stream_either():
    model, frames = (
        build("resnet", "INPUT.CLASSIFICATION.CROP_SIZE_TEST", 40),
        make_clip(3)["image"],
    )
    with pytest.raises(UserError, match="32x32 pixels is smaller than the crop of 40"):
        stream(model, frames)


def test_one_frame_at_a_time():
    """Live use: no frame is asked for ahead; two videos side by side do not mix."""
    model, frames = build(), make_clip(7)["image"]
    first, second = (PushStream(model, (32, 32)) for _ in range(2))
    with torch.no_grad():
        answers = [first.push(frame)["class_scores"] for frame in frames]
        second.push(frames[3])
    torch.testing.assert_close(answers[5], offline(model, frames[:6]), **CLOSE)
    assert torch.equal(answers[6], answers[5])
    assert stream(model, frames[:0]) == []


def test_reversed_clips_are_trained_on():
    """As if they had been in the batch; their frames go through the backbone once."""
    options = (NODE + "REVERSED_CLASSES", [1, 0, -1, 4, 3])
    model = build("resnet", *options).train()
    clips = [make_clip(6, label=4), make_clip(5, label=2, seed=1), make_clip(4, label=0, seed=2)]
    clips[2]["frame_index"] = torch.tensor([1, 2, 5, 5])  # the last one is repeated
    backwards = [
        {"image": clips[0]["image"].flip(0), "frame_index": clips[0]["frame_index"], "label": 3},
        {"image": clips[2]["image"].flip(0), "frame_index": torch.tensor([1, 1, 4, 5]), "label": 1},
    ]
    model.frame_encoder.eval()  # frames of the reversals do not count twice in the statistics
    frames = []
    model.frame_encoder.register_forward_hook(lambda _, inputs, __: frames.append(len(*inputs)))
    loss = losses_of(model, clips)["loss_cls"]
    model.reversed_classes = ()
    torch.testing.assert_close(loss, losses_of(model, clips + backwards)["loss_cls"])
    assert frames == [15, 25]


# ---- bad input ----------------------------------------------------------------------------------


def test_labels_beyond_the_classes():
    model = build().train()
    with pytest.raises(UserError, match=r"label 5, the model's classes are 0 to 4: .*NUM_CLASSES"):
        losses_of(model, [make_clip(), make_clip(label=5)])


def test_clips_of_different_sizes():
    with pytest.raises(UserError, match="different sizes .24x24, 32x32.: crop"):
        losses_of(build().train(), [make_clip(), make_clip(size=24)])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("NUM_CLASSES", 0),
        ("STREAM_INTERVAL", 0),
        ("STREAM_MAX_FRAMES", 1),
        ("HEAD_DROPOUT", 1.0),
        ("NUM_HEADS", 5),
        ("WINDOW", 3),
        ("POSITION_RULE", "wrap"),
        ("INIT_STD", 0.0),
        ("INIT_STD_EMBEDDINGS", -1.0),
        ("REVERSED_CLASSES", [1, 0]),
        ("REVERSED_CLASSES", [1, 2, 0, -1, -1]),
        ("REVERSED_CLASSES", [5, -1, -1, -1, -1]),
        ("REVERSED_CLASSES", [1.0, 0.0, -1, -1, -1]),
    ],
)
def test_values_out_of_range(key, value):
    with pytest.raises(UserError):
        VTN(tiny_cfg("resnet", NODE + key, value))


def test_spread_of_the_first_weights():
    torch.manual_seed(0)
    options = ("INIT_STD", 0.3, "INIT_STD_EMBEDDINGS", 0.7)
    encoder = VTN(
        tiny_cfg("resnet", *(NODE + x if isinstance(x, str) else x for x in options))
    ).temporal_encoder
    # 1,024 and 1,280 numbers: a standard error of 2 %.
    assert encoder.layers[0].linear1.weight.std().item() == pytest.approx(0.3, rel=0.08)
    assert encoder.embeddings.position.weight.std().item() == pytest.approx(0.7, rel=0.08)


def test_cross_entropy_of_what_inference_says():
    model, clip = build("vit"), make_clip(5, label=2)
    model.training = True
    loss = losses_of(model, [clip])["loss_cls"]
    model.training = False
    torch.testing.assert_close(loss, F.nll_loss(model([clip])[0]["scores"].log(), torch.tensor(2)))

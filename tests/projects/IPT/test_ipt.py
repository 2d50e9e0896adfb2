"""The meta-architecture: training, whole images, following a video, fine-tuning on other tasks."""

import logging
import math

import pytest
import torch
import torch.nn.functional as F
from d2video.projects.ipt.contrastive import contrastive_loss
from d2video.projects.ipt.network import task_of

from d2video.checkpoint import VideoCheckpointer
from d2video.inference.push_stream import PushStream
from d2video.modeling.pixels import INFERENCE_ELEMENTS
from d2video.utils.errors import UserError
from tests.helpers.tensors_alive import most_alive
from tests.projects.IPT.tiny import NODE, build, losses_of, make_patches, tiny_cfg

# The same sums in another order, on values of order 100, of which float32 keeps 1e-5.
CLOSE = {"rtol": 0, "atol": 5e-4}


def image_of(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


# ---- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["paper", "supcon"])
def test_losses(form):
    model = build(f"{NODE}CONTRASTIVE_FORM", form, f"{NODE}CONTRASTIVE_WEIGHT", 0.2).train()
    batch = make_patches("sr_x2", 2)
    losses = losses_of(model, batch)
    output, features = model.network(torch.stack([item["image"] for item in batch]), 0)
    expected = F.l1_loss(output, torch.stack([item["target"] for item in batch]))
    torch.testing.assert_close(losses["loss_l1"], expected)
    expected = 0.2 * contrastive_loss(features, form, {"paper": 1.0, "supcon": 0.07}[form])
    torch.testing.assert_close(losses["loss_contrastive"], expected)


def test_psnr_loss():
    model = build(f"{NODE}LOSS", "psnr", f"{NODE}CONTRASTIVE_WEIGHT", 0.0).train()
    batch = make_patches("derain", 1)
    losses = losses_of(model, batch)
    assert list(losses) == ["loss_psnr"]
    output = model.network(torch.stack([item["image"] for item in batch]), 1)[0]
    errors = [F.mse_loss(o, item["target"]) for o, item in zip(output, batch, strict=True)]
    # The mean of the patches' PSNR, not the PSNR of their mean error.
    expected = sum(10 * math.log10(error.item() + 10) for error in errors) / 2
    assert losses["loss_psnr"].item() == pytest.approx(expected, rel=1e-5)


def test_training_reaches_the_parameters_of_its_task_alone():
    model = build(f"{NODE}CONTRASTIVE_WEIGHT", 0.0).train()
    losses = losses_of(model, make_patches("derain", 1))
    assert list(losses) == ["loss_l1"]
    losses["loss_l1"].backward()
    for name, parameter in model.network.named_parameters():
        assert (parameter.grad is not None) == (task_of(name) in (None, "derain")), name


def test_a_frozen_trunk_stays_as_it_is():
    model = build(f"{NODE}FREEZE_TRUNK", True).train()
    sum(losses_of(model, make_patches("derain", 1)).values()).backward()
    trained = {n for n, p in model.network.named_parameters() if p.grad is not None}
    assert trained == {n for n, _ in model.network.named_parameters() if task_of(n) == "derain"}
    assert "body.queries.derain" in trained


def test_one_image_a_process_has_nothing_to_be_compared_with():
    batch = make_patches("derain", 1, count=1)
    with pytest.raises(UserError, match=r"raise SOLVER.IMS_PER_BATCH, or set .*CONTRASTIVE_WEIGHT"):
        losses_of(build().train(), batch)
    losses_of(build(f"{NODE}CONTRASTIVE_WEIGHT", 0.0).train(), batch)


def test_integer_targets():
    model = build().train()
    batch = make_patches("denoise_30", 1)
    for item in batch:
        item["target"] = item["target"].to(torch.uint8)
    expected = [{**item, "target": item["target"].float()} for item in batch]
    assert losses_of(model, batch)["loss_l1"] == losses_of(model, expected)["loss_l1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "sr_x7"}, "no task 'sr_x7': it has sr_x2, derain, denoise_30"),
        ({"task": ""}, "names no task: set MODEL.IPT.TASK to one of sr_x2"),
        ({"image": torch.zeros(3, 10, 12)}, r"image of shape \(3, 10, 12\), the model takes"),
        ({"target": torch.zeros(3, 12, 12)}, r"target of shape .* takes \(3, 24, 24\)"),
    ],
)
def test_batches_that_do_not_fit(change, message):
    model = build().train()
    with pytest.raises(UserError, match=message):
        losses_of(model, [{**item, **change} for item in make_patches("sr_x2", 2)])


# ---- whole images -------------------------------------------------------------------------------


def test_images_of_several_sizes_and_tasks(monkeypatch):
    model = build()
    inputs = [
        {"image": image_of(20, 33), "task": "sr_x2"},
        {"image": image_of(15, 12, seed=1), "task": "derain"},
        {"image": image_of(7, 30, seed=2).float(), "task": "sr_x2"},  # smaller than a patch
    ]
    answers = [answer["restored"] for answer in model(inputs)]
    assert [tuple(a.shape) for a in answers] == [(3, 40, 66), (3, 15, 12), (3, 14, 60)]
    for item, answer in zip(inputs, answers):
        assert answer.dtype == torch.float32
        assert not answer.requires_grad
        torch.testing.assert_close(model([item])[0]["restored"], answer, **CLOSE)
    monkeypatch.setitem(INFERENCE_ELEMENTS, "cpu", 1)  # one patch at once
    for one, answer in zip(model(inputs), answers):
        torch.testing.assert_close(one["restored"], answer, **CLOSE)
    official = build(f"{NODE}TILING", "official")(inputs[:1])[0]["restored"]
    assert (official - answers[0]).abs().max() > 0.1
    corner = build(f"{NODE}TILING", "official", f"{NODE}OFFICIAL_CORNER", True)(inputs[:1])
    assert not torch.equal(corner[0]["restored"], official)


@pytest.mark.parametrize(
    ("options", "task", "elements"),
    [
        ((), "derain", 4 * 4 * 12**2),  # hidden layers: the ratio times the channels
        ((f"{NODE}NUM_FEATURES", 8), "derain", 4 * 8 * 12**2),
        ((f"{NODE}FEEDFORWARD_RATIO", 1), "derain", 4 * 12**2),
        ((f"{NODE}TASKS", ["sr_x4"]), "sr_x4", 4 * 48**2),  # feature maps of the answer's size
    ],
)
def test_patches_at_once_follow_the_largest_tensor(monkeypatch, options, task, elements):
    monkeypatch.setitem(INFERENCE_ELEMENTS, "cpu", 3 * elements)
    model, largest, counts = build(*options), [], []

    def look(module, given, output):
        if isinstance(output, torch.Tensor):
            largest.append(output.numel() // counts[-1])

    model.network.register_forward_pre_hook(lambda module, given: counts.append(len(given[0])))
    for module in model.network.modules():
        if not list(module.children()):
            module.register_forward_hook(look)
    model([{"image": image_of(40, 40), "task": task}])
    assert counts[:2] == [3, 3]
    assert max(largest) == elements


def test_self_ensemble():
    """The mean over the eight flips and turns; hence the answer turns with the image."""
    model = build(f"{NODE}SELF_ENSEMBLE", True)
    image = image_of(14, 21).float()
    (answer,) = model([{"image": image, "task": "sr_x2"}])
    plain = build()
    views = []
    for transposed in (False, True):
        for dims in ((), (-1,), (-2,), (-1, -2)):
            view = (image.transpose(-1, -2) if transposed else image).flip(dims)
            restored = plain([{"image": view, "task": "sr_x2"}])[0]["restored"].flip(dims)
            views.append(restored.transpose(-1, -2) if transposed else restored)
    torch.testing.assert_close(answer["restored"], torch.stack(views).mean(0), **CLOSE)
    turned = model([{"image": image.rot90(1, (-2, -1)), "task": "sr_x2"}])[0]["restored"]
    torch.testing.assert_close(turned, answer["restored"].rot90(1, (-2, -1)), **CLOSE)


def test_self_ensemble_holds_two_answers_besides_an_image_and_its_view(monkeypatch):
    """Or, while one is added to the sum, it, it turned back, and the sum."""
    model = build(f"{NODE}SELF_ENSEMBLE", True)
    monkeypatch.setitem(INFERENCE_ELEMENTS, "cpu", 1)
    inputs = [{"image": image_of(60, 48), "task": "derain"}]
    assert most_alive(lambda: model(inputs), 3 * 60 * 48) == 4


# ---- following a video --------------------------------------------------------------------------


def test_video_frame_by_frame():
    model = build(f"{NODE}TASK", "sr_x2")
    frames = [image_of(13, 18, seed=i) for i in range(3)]
    answers = list(model.stream_video(iter(frames), (13, 18)))
    assert len(answers) == 3
    for frame, answer in zip(frames, answers):
        expected = model([{"image": frame, "task": "sr_x2"}])[0]["restored"]
        torch.testing.assert_close(answer["restored"], expected, **CLOSE)
    stream = PushStream(model, (13, 18))
    for frame, answer in zip(frames, answers):
        assert torch.equal(stream.push(frame)["restored"], answer["restored"])
    with pytest.raises(UserError, match=r"set MODEL.IPT.TASK to one of sr_x2, derain"):
        next(build().stream_video(iter(frames), (13, 18)))
    single = build(f"{NODE}TASKS", ["derain"])  # no doubt
    assert next(single.stream_video(iter(frames), (13, 18)))["restored"].shape == (3, 13, 18)


# ---- other tasks --------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path):
    VideoCheckpointer(build(seed=5), str(tmp_path)).save("six")
    return str(tmp_path / "six.pth")


def test_fine_tuning_on_one_task_of_several(checkpoint, caplog):
    source = build(seed=5)
    model = build(f"{NODE}TASKS", ["denoise_30"])
    with caplog.at_level(logging.INFO):
        # Every parameter is there: evaluation may choose a task, too.
        VideoCheckpointer(model, strict=True).load(checkpoint)
    assert "dropped: sr_x2, derain" in caplog.text
    image = image_of(14, 15)
    expected = source([{"image": image, "task": "denoise_30"}])[0]["restored"]
    assert torch.equal(model([{"image": image}])[0]["restored"], expected)


def test_a_task_new_to_the_model(checkpoint, caplog):
    source = build(seed=5)
    model = build(f"{NODE}TASKS", ["blur", "sr_x2"], seed=9)
    before = {n: v.clone() for n, v in model.state_dict().items() if ".blur" in n}
    with caplog.at_level(logging.WARNING):
        VideoCheckpointer(model).load(checkpoint)
    assert "the checkpoint lacks, randomly initialised: blur" in caplog.text
    assert before
    state = model.state_dict()
    for name, value in source.state_dict().items():
        if name in state:
            assert torch.equal(state[name], value), name
    assert all(torch.equal(state[name], value) for name, value in before.items())
    with pytest.raises(UserError, match="missing .*blur"):  # for evaluation it would be nonsense
        VideoCheckpointer(model, strict=True).load(checkpoint)


def test_checkpoints_that_do_not_fit(checkpoint, tmp_path):
    with pytest.raises(UserError, match="parameters have another shape"):
        VideoCheckpointer(build(f"{NODE}NUM_FEATURES", 8)).load(checkpoint)
    state = torch.load(checkpoint, weights_only=True)["model"]
    deeper = {n.replace("decoder.0", "decoder.1"): v for n, v in state.items()}
    torch.save({"model": state | deeper}, tmp_path / "deeper.pth")
    with pytest.raises(UserError, match=r"14 unknown \(network.body.decoder.1"):
        VideoCheckpointer(build()).load(str(tmp_path / "deeper.pth"))
    torch.save({"model": {"class_embed.weight": torch.zeros(1)}}, tmp_path / "detr.pth")
    with pytest.raises(UserError, match="no parameter fits this model"):
        VideoCheckpointer(build()).load(str(tmp_path / "detr.pth"))


# ---- config -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["TASK", "sr_x9"], "no task 'sr_x9'"),
        (["TASKS", ["sr_x2", "sr_x2"]], "names sr_x2 more than once"),
        (["NUM_LAYERS", 0], "NUM_LAYERS is 0: set 1 or more"),
        (["CONTRASTIVE_WEIGHT", -0.1], "CONTRASTIVE_WEIGHT is -0.1"),
        (["CONTRASTIVE_FORM", "simclr"], "CONTRASTIVE_FORM is 'simclr': choose paper or supcon"),
        (["LOSS", "l2"], "LOSS is 'l2': choose l1 or psnr"),
        (["TILING", "slow"], "TILING is 'slow': choose fast or official"),
        (["TILING", "official", "PATCH_SIZE", 15], "PATCH_SIZE that 4 divides, not 15"),
        (["DROPOUT", 1.0], "DROPOUT is 1.0"),
    ],
)
def test_config_values_that_cannot_be(options, message):
    named = [f"{NODE}{x}" if i % 2 == 0 else x for i, x in enumerate(options)]
    with pytest.raises(UserError, match=message):
        build(*named)


def test_channel_order():
    assert tiny_cfg().INPUT.FORMAT == "RGB"
    with pytest.raises(UserError, match="INPUT.FORMAT is BGR: set RGB"):
        build("INPUT.FORMAT", "BGR")

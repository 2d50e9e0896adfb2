"""The network against the official one, its size, and the names of tasks."""

import logging

import pytest
import torch
import torch.nn.functional as F
from d2video.projects.ipt import IPTNetwork, parse_tasks
from d2video.projects.ipt.converter import official_name
from d2video.projects.ipt.network import task_of
from d2video.projects.ipt.tasks import Task, task_index
from torch import nn

from d2video.utils.errors import UserError
from tests.projects.IPT.tiny import TASKS, golden_network, load_golden

# Values of order 100 in float32; the official code itself is 4e-5 from float64.
CLOSE = {"rtol": 0, "atol": 1e-4}


@pytest.fixture(scope="module")
def golden():
    return load_golden()


@pytest.fixture(scope="module")
def network(golden):
    return golden_network(golden)


# ---- the official network -----------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("task", range(6))
def test_outputs_are_the_official_ones(golden, network, task):
    output, _ = network(golden["patch.input"], task)
    torch.testing.assert_close(output, golden[f"patch.task{task}.output"], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("task", [0, 5])
def test_what_lies_between_is_official(golden, network, task):
    def expected(part):
        return golden[f"patch.task{task}.{part}"]

    name = TASKS[task]
    head = network.heads[name](golden["patch.input"] - network.mean)
    torch.testing.assert_close(head, expected("head"), **CLOSE)
    # The official order within a token is that of unfold, and tokens come first.
    tokens = F.unfold(head, 3, stride=3).transpose(1, 2)
    memory = network.body.encode(tokens)
    torch.testing.assert_close(memory, expected("encoder").transpose(0, 1), **CLOSE)
    decoded = network.body.decode(memory, name)
    torch.testing.assert_close(decoded, expected("decoder").transpose(0, 1), **CLOSE)
    features = network(golden["patch.input"], task)[1]
    torch.testing.assert_close(features, expected("contrastive_features"), **CLOSE)
    folded = F.fold(features.transpose(1, 2), 12, 3, stride=3)
    torch.testing.assert_close(folded, expected("body"), **CLOSE)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_gradients_of_l1_are_the_official_ones(golden, checkpointed):
    network = golden_network(golden)
    network.body.activation_checkpoint = checkpointed
    network.train()  # without dropout
    loss = F.l1_loss(network(golden["patch.input"], 1)[0], golden["l1.target"])
    torch.testing.assert_close(loss, golden["l1.loss"], rtol=0, atol=1e-4)
    loss.backward()
    compared = 0
    for name, parameter in network.named_parameters():
        if task_of(name) not in (None, "sr_x3"):
            assert parameter.grad is None, name
            continue
        key = official_name(name).replace("sr_x3", "1")
        if "queries" in name:
            key = "body.query_embed.weight"
        if f"l1.grad.{key}" in golden:
            expected = golden[f"l1.grad.{key}"].view_as(parameter)
            # Stored in steps of 1 / 32767 of the largest.
            atol = 1e-4 * float(expected.abs().max())
            torch.testing.assert_close(parameter.grad, expected, rtol=0, atol=atol, msg=name)
            compared += 1
        else:
            assert ".1." in name, name  # second layers are not stored
            assert parameter.grad is not None
    assert compared == sum(key.startswith("l1.grad.") for key in golden)


# ---- its size -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "parameters"),
    [
        (["sr_x2"], 115_460_443),
        (["sr_x3"], 115_645_083),
        (["sr_x4"], 115_608_155),
        (["derain"], 115_312_731),
        (TASKS, 118_892_394),
    ],
)
def test_number_of_parameters(tasks, parameters):
    """The official numbers, without the 24 of the constant mean shifts."""
    with torch.device("meta"):
        network = IPTNetwork(parse_tasks(tasks))
    own = sum(p.numel() for p in network.parameters())
    assert own == parameters - 24


def test_first_weights():
    torch.manual_seed(0)
    network = IPTNetwork(parse_tasks(["sr_x2"]), 8, 24, 3, 2, 2)
    body = network.body
    for weight in (body.position, body.queries["sr_x2"]):
        assert weight.std().item() == pytest.approx(1, abs=0.05)
    # Uniform within 1 / sqrt(72) (Kaiming, a = sqrt 5) and sqrt(6 / (72 + 216)) (Xavier).
    assert body.encoder[1].self_attn.in_proj_weight.abs().max().item() == pytest.approx(
        0.1178, abs=1e-3
    )
    assert body.decoder[1].self_attn.in_proj_weight.abs().max().item() == pytest.approx(
        0.1443, abs=1e-3
    )
    first, second = body.encoder
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    assert not [name for name in network.state_dict() if "in_proj_bias" in name]


@torch.no_grad()
def test_scale_of_the_pixels():
    """The standard deviation divides the input and multiplies the output."""
    networks = [
        IPTNetwork(parse_tasks(["denoise_30"]), 4, 12, 3, 1, 2, pixel_std=(s,) * 3) for s in (1, 50)
    ]
    networks[1].load_state_dict(networks[0].state_dict())
    mean, x = networks[0].mean, torch.randn(1, 3, 12, 12)
    output = [network(s * x + mean, 0)[0] for network, s in zip(networks, (1, 50))]
    torch.testing.assert_close((output[1] - mean) / 50, output[0] - mean, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("task", "scale"), [("sr_x2", 2), ("sr_x3", 3), ("derain", 1)])
def test_a_global_residual_starts_from_the_enlarged_input(task, scale):
    sizes = (parse_tasks([task]), 4, 12, 3, 1, 2)
    torch.manual_seed(0)
    network = IPTNetwork(*sizes, pixel_std=(50,) * 3, global_residual=True)
    x = 255 * torch.rand(2, 3, 12, 12)
    enlarged = x
    if scale > 1:
        size = (12 * scale, 12 * scale)
        enlarged = F.interpolate(x, size, mode="bicubic", antialias=True)
    torch.testing.assert_close(network(x, 0)[0], enlarged)
    # After that it adds what the network without it adds to the mean.
    nn.init.normal_(network.tails[task][-1].weight)
    plain = IPTNetwork(*sizes, pixel_std=(50,) * 3)
    plain.load_state_dict(network.state_dict())
    change = plain(x, 0)[0] - plain.mean
    assert change.abs().max() > 1
    torch.testing.assert_close(network(x, 0)[0] - enlarged, change, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 20}, "PATCH_SIZE 20 is not a multiple of TOKEN_SIZE 3"),
        ({"num_heads": 5}, "tokens of 72 numbers .* cannot be split into 5 heads"),
        ({"tasks": parse_tasks(["sr_x6"])}, "scale 6: possible are 3 and powers of two"),
    ],
)
def test_sizes_that_do_not_fit(changes, message):
    sizes = {"tasks": parse_tasks(["derain"]), "num_features": 8, "num_heads": 2, "num_layers": 1}
    with pytest.raises(UserError, match=message):
        IPTNetwork(**{**sizes, **changes})


# ---- tasks --------------------------------------------------------------------------------------


def test_tasks_of_a_config():
    entries = ["sr_x3", "denoise_30", "derain", ["grain", {"scale": 2}], "blur"]
    assert parse_tasks(entries) == (
        Task("sr_x3", 3, "sr"),
        Task("denoise_30", 1, "denoise", 30.0),
        Task("derain", 1, "derain"),
        Task("grain", 2, "own"),
        Task("blur", 1, "own"),
    )
    assert task_index(parse_tasks(entries), "derain") == 2
    with pytest.raises(UserError, match="no task 'sr_x2': it has sr_x3, denoise_30"):
        task_index(parse_tasks(entries), "sr_x2")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "TASKS is empty"),
        (["derain", "derain"], "names derain more than once"),
        ([["sr_x2", {"scale": 3}]], "'sr_x2' has scale 3: set 2, as its name says"),
        ([["own", {"scale": 0}]], "'own' has scale 0: set 1 or more"),
        ([["own", {"size": 2}]], "has the entry"),
        ([7], "has the entry 7"),
        (["a.b"], "task 'a.b', an unusable name"),
        (["keys"], "task 'keys', an unusable name"),
        (["training"], "task 'training', an unusable name"),
    ],
)
def test_tasks_that_are_none(entries, message):
    with pytest.raises(UserError, match=message):
        parse_tasks(entries)


def test_tasks_are_loaded_by_name(caplog):
    source = IPTNetwork(parse_tasks(["sr_x2", "derain", "denoise_30"]), 4, 12, 3, 1, 2)
    target = IPTNetwork(parse_tasks(["denoise_30", "denoise_70"]), 4, 12, 3, 1, 2)
    new = {n: v.clone() for n, v in target.state_dict().items() if task_of(n) == "denoise_70"}
    state = source.state_dict()
    with caplog.at_level(logging.INFO):
        result = target.load_state_dict(state, strict=False)
    assert "only the checkpoint has, dropped: sr_x2, derain" in caplog.text
    assert "the checkpoint lacks, randomly initialised: denoise_70" in caplog.text
    assert set(result.missing_keys) == set(new)
    assert result.unexpected_keys == []
    assert "heads.sr_x2.0.weight" in state  # the caller's own is as it was
    for name, value in target.state_dict().items():
        assert torch.equal(value, new[name] if name in new else state[name]), name
    with pytest.raises(RuntimeError, match="Missing key.*denoise_70"):
        target.load_state_dict(state)

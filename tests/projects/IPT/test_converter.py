"""Official checkpoints key by key and back, of several tasks and of one."""

import json

import pytest
import torch
import yaml
from d2video.projects.ipt.converter import official_name
from detectron2.modeling import build_model

from d2video.checkpoint import (
    CONVERTER_REGISTRY,
    VideoCheckpointer,
    adapt_foreign,
    from_foreign,
    to_foreign,
)
from d2video.cli.convert import main as convert_checkpoint
from d2video.config import load_cfg
from d2video.projects import register_all
from d2video.utils.errors import UserError
from tests.helpers.golden_io import GOLDEN
from tests.projects.IPT.tiny import NODE, SMALL, TASKS, build, load_golden, losses_of, make_patches

register_all()

OFFICIAL = json.loads((GOLDEN / "ipt_full6_state_dict_shapes.json").read_text())
POSITION_IDS = "body.position_encoding.position_ids"
CONSTANTS = {POSITION_IDS} | {f"{m}_mean.{p}" for m in ("sub", "add") for p in ("weight", "bias")}
FORMAT = CONVERTER_REGISTRY["IPT"]["ipt"]


def full_model(tasks):
    cfg = load_cfg(
        "configs/IPT/Base-IPT.yaml", ["MODEL.DEVICE", "meta", f"{NODE}TASKS", str(tasks)]
    )
    with torch.device("meta"):
        return build_model(cfg).state_dict()


@pytest.fixture(scope="module")
def six():
    return full_model(TASKS)


def foreign(shapes):
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def shapes(state):
    return {name: list(value.shape) for name, value in state.items()}


def convert(state, model):
    adapted, notes = adapt_foreign(state, model, FORMAT)
    return (*from_foreign(adapted, model, FORMAT), notes)


def test_official_file_key_by_key_and_back(six):
    official = foreign(OFFICIAL)
    ours, fresh, unused, notes = convert(official, six)
    assert shapes(ours) == shapes(six)
    assert fresh == []
    assert set(unused) == CONSTANTS
    assert notes == [
        "tasks by number: 0 sr_x2, 1 sr_x3, 2 sr_x4, 3 derain, 4 denoise_30, 5 denoise_50"
    ]
    for name, value in ours.items():  # each tensor is the one of its foreign name
        theirs = official_name(name)
        if "queries" in theirs:
            continue
        for number, task in enumerate(TASKS):
            theirs = theirs.replace(f"head.{task}.", f"head.{number}.")
            theirs = theirs.replace(f"tail.{task}.", f"tail.{number}.")
        assert value is official[theirs], name
    # Constants are made anew, on the CPU.
    assert shapes(to_foreign(ours, six, FORMAT)) == OFFICIAL


def test_a_file_of_one_task():
    """As the released ones should be: head, tail and query 0."""
    one = {
        name: [1, shape[1]] if name == "body.query_embed.weight" else shape
        for name, shape in OFFICIAL.items()
        if not name.startswith(("head.", "tail."))
    }
    for name, shape in OFFICIAL.items():
        if name.startswith(("head.1.", "tail.1.")):
            one[name.replace(".1.", ".0.", 1)] = shape
    model = full_model(["sr_x3"])
    ours, fresh, _, notes = convert(foreign(one), model)
    assert shapes(ours) == shapes(model)
    assert fresh == []
    assert notes == ["tasks by number: 0 sr_x3"]
    with pytest.raises(UserError, match=r"misshapen: tail.sr_x2"):
        convert(foreign(one), full_model(["sr_x2"]))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("network.heads.derain.1.body.2.bias", "head.derain.1.body.2.bias"),
        ("network.tails.sr_x4.0.2.weight", "tail.sr_x4.0.2.weight"),
        ("network.body.position", "body.position_encoding.pe.weight"),
        ("network.body.mlp_head.linear2.weight", "body.mlp_head.3.weight"),
        (
            "network.body.decoder.11.multihead_attn.out_proj.weight",
            "body.decoder.layers.11.multihead_attn.out_proj.weight",
        ),
        ("network.body.encoder.3.norm2.bias", "body.encoder.layers.3.norm2.bias"),
        ("network.body.encoder.3.linear1.weight", "body.encoder.layers.3.linear1.weight"),
    ],
)
def test_names_whose_shapes_do_not_tell_them_apart(ours, theirs):
    assert official_name(ours) == theirs


def test_files_that_do_not_fit(six):
    with pytest.raises(
        UserError, match=r"holds 6 tasks, .*TASKS names 1 \(sr_x2\): name the file's"
    ):
        convert(foreign(OFFICIAL), full_model(["sr_x2"]))
    swapped = full_model(["sr_x3", "sr_x2", *TASKS[2:]])
    with pytest.raises(UserError, match=r"misshapen: tail.sr_x2|misshapen: tail.sr_x3"):
        convert(foreign(OFFICIAL), swapped)
    with pytest.raises(UserError, match="no parameter of the format 'official IPT'"):
        convert(foreign({"class_embed.weight": [3, 4]}), six)
    deeper = {
        name.replace("layers.11.", "layers.12."): shape
        for name, shape in OFFICIAL.items()
        if "encoder.layers.11." in name
    }
    with pytest.raises(UserError, match=r"unknown: body.encoder.layers.12"):
        convert(foreign(OFFICIAL | deeper), six)
    with pytest.raises(UserError, match=r"query_embed.weight has shape \(6, 64\)"):
        convert(foreign(OFFICIAL | {"body.query_embed.weight": [6, 64]}), six)


# ---- the tool -----------------------------------------------------------------------------------

GOLDEN_OPTIONS = [f"{NODE}TASKS", TASKS, f"{NODE}NUM_FEATURES", 8, f"{NODE}NUM_LAYERS", 2]


@pytest.fixture
def config(tmp_path):
    """A config file of the golden model."""
    values: dict = {}
    flat = [*SMALL, *GOLDEN_OPTIONS]
    for key, value in zip(flat[::2], flat[1::2]):
        node = values
        *path, last = key.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({**values, "VERSION": 2}))
    return str(path)


@pytest.fixture
def official():
    state = {k.removeprefix("sd."): v for k, v in load_golden().items() if k.startswith("sd.")}
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        state[f"{name}.weight"] = torch.eye(3).view(3, 3, 1, 1)
        state[f"{name}.bias"] = sign * 255 * torch.tensor([0.4488, 0.4371, 0.4040])
    return state


def run_tool(config, source, target, *more):
    paths = ["--input", str(source), "--output", str(target)]
    convert_checkpoint(["--config-file", config, "--format", "ipt", *paths, *more])


def test_the_tool_reads_and_writes_official_files(tmp_path, config, official):
    golden = load_golden()
    torch.save(official, tmp_path / "official.pt")
    run_tool(config, tmp_path / "official.pt", tmp_path / "ours.pth")
    model = build(*GOLDEN_OPTIONS)
    VideoCheckpointer(model, strict=True).load(str(tmp_path / "ours.pth"))
    # A whole image of the size of a patch is one patch.
    for task in (0, 3):
        inputs = [{"image": image, "task": TASKS[task]} for image in golden["patch.input"]]
        restored = torch.stack([answer["restored"] for answer in model(inputs)])
        expected = golden[f"patch.task{task}.output"]
        torch.testing.assert_close(restored, expected, rtol=0, atol=1e-4)

    run_tool(config, tmp_path / "ours.pth", tmp_path / "back.pt", "--reverse")
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    assert back.keys() == official.keys() | {POSITION_IDS}
    assert all(torch.equal(back[name], official[name]) for name in official)


def test_the_tool_refuses_other_constants(tmp_path, config, official, capsys):
    official["add_mean.bias"] = torch.full((3,), 127.5)
    torch.save(official, tmp_path / "official.pt")
    with pytest.raises(SystemExit):
        run_tool(config, tmp_path / "official.pt", tmp_path / "ours.pth")
    assert "add_mean is not the official one" in capsys.readouterr().err


def test_fine_tuning_on_a_converted_file(tmp_path, config, official):
    torch.save(official, tmp_path / "official.pt")
    run_tool(config, tmp_path / "official.pt", tmp_path / "ours.pth")
    model = build(*GOLDEN_OPTIONS, f"{NODE}TASKS", ["sr_x3"])
    VideoCheckpointer(model).load(str(tmp_path / "ours.pth"))
    golden = load_golden()
    batch = make_patches("sr_x3", 3)
    for item, image, target in zip(batch, golden["patch.input"], golden["l1.target"], strict=True):
        item["image"], item["target"] = image, target
    loss = losses_of(model.train(), batch)["loss_l1"]
    torch.testing.assert_close(loss, golden["l1.loss"], rtol=0, atol=1e-4)

"""Refusing checkpoints that do not fit, converting foreign ones."""

import json

import pytest
import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import build_model
from torch import nn

from d2video.checkpoint import (
    CONVERTER_REGISTRY,
    CheckpointFormat,
    VideoCheckpointer,
    adapt_foreign,
    checkpoint_format,
    from_foreign,
    to_foreign,
    write_checkpoint,
)
from d2video.config import load_cfg
from d2video.projects import register_all
from d2video.utils.errors import UserError
from tests.helpers.golden_io import GOLDEN


class Model(nn.Module):
    def __init__(self, classes: int = 3):
        super().__init__()
        self.backbone = nn.Linear(2, 2)
        self.head = nn.Linear(2, classes)


def save(path, content) -> str:
    torch.save(content, path)
    return str(path)


# ---- fitting ------------------------------------------------------------------------------------


def load(tmp_path, state, **kwargs):
    model = Model()
    VideoCheckpointer(model, **kwargs).load(save(tmp_path / "x.pth", {"model": state}))
    return model


def test_own_checkpoint_loads_strictly(tmp_path):
    state = Model().state_dict()
    model = load(tmp_path, dict(state), strict=True)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())


@pytest.mark.parametrize("key", ["model", "model_state", "model_state_dict", "state_dict", ""])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_state_dicts_of_wrapped_models(tmp_path, key, prefix):
    state = Model().state_dict()
    wrapped = {prefix + name: value for name, value in state.items()}
    path = save(tmp_path / "x.pth", {key: wrapped, "epoch": 3} if key else wrapped)
    model = Model()
    VideoCheckpointer(model, strict=True).load(path)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())


def test_a_part_that_was_compiled(tmp_path):
    state = Model().state_dict()
    compiled = {n.replace(".", "._orig_mod.", 1) if "head" in n else n: v for n, v in state.items()}
    assert compiled.keys() != state.keys()
    loaded = load(tmp_path, compiled, strict=True).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_prefixes_that_not_all_names_have_stay(tmp_path):
    state = Model().state_dict()
    content = {"model": {f"module.{n}" if "head" in n else n: v for n, v in state.items()}}
    with pytest.raises(UserError, match=r"unknown \(module\.head"):
        VideoCheckpointer(Model(), strict=True).load(save(tmp_path / "x.pth", content))


def test_weights_of_a_training_that_diverged(tmp_path):
    state = Model().state_dict()
    state["head.bias"][1] = float("nan")
    with pytest.raises(UserError, match=r"1 of its 4 parameters hold NaN, such as head\.bias"):
        load(tmp_path, state)


def test_prefixes_to_ignore_that_nothing_has(tmp_path):
    message = "WEIGHTS_IGNORE holds 'haed.', with which .* names such as backbone.bias"
    with pytest.raises(UserError, match=message):
        load(tmp_path, Model().state_dict(), ignore=("haed.",))


def test_a_folder_as_weights(tmp_path):
    with pytest.raises(UserError, match="it is a folder: name a file in it"):
        VideoCheckpointer(Model()).load(str(tmp_path))


def test_other_class_count_is_refused_or_ignored_on_demand(tmp_path):
    state = Model(classes=5).state_dict()
    with pytest.raises(
        UserError, match=r"head.weight \(5, 2\) instead of \(3, 2\).*WEIGHTS_IGNORE"
    ):
        load(tmp_path, dict(state))
    model = load(tmp_path, dict(state), ignore=("head.",))
    assert torch.equal(model.backbone.weight, state["backbone.weight"])


def test_batch_norms_that_were_trained_can_be_frozen(tmp_path):
    """As by MODEL.BACKBONE.FREEZE_AT or MODEL.RESNETS.NORM FrozenBN."""
    trained = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    trained(torch.rand(3, 1, 4, 4))
    state = dict(trained.state_dict())
    frozen = nn.Sequential(nn.Conv2d(1, 2, 1), FrozenBatchNorm2d(2))
    VideoCheckpointer(frozen, strict=True).load(save(tmp_path / "x.pth", {"model": dict(state)}))
    assert torch.equal(frozen[1].running_mean, state["1.running_mean"])
    bare = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Identity())  # has no such norm
    with pytest.raises(UserError, match=r"5 unknown \(1\.bias, 1\.num_batches_tracked"):
        VideoCheckpointer(bare, strict=True).load(save(tmp_path / "x.pth", {"model": state}))


def test_another_models_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="no parameter fits this model.*conv.weight"):
        load(tmp_path, {"conv.weight": torch.ones(2)})
    mixed = {**Model().state_dict(), "track_attention.weight": torch.ones(2)}
    with pytest.raises(UserError, match="not a checkpoint of this model.*track_attention"):
        load(tmp_path, mixed)


def test_backbone_weights_start_a_training_but_no_evaluation(tmp_path, caplog):
    backbone = {k: v for k, v in Model().state_dict().items() if k.startswith("backbone")}
    backbone["fc.weight"] = torch.ones(3)
    load(tmp_path, dict(backbone))
    assert "are newly initialised: head.bias, head.weight" in caplog.text
    assert "not used: fc.weight" in caplog.text
    with pytest.raises(UserError, match=r"2 missing \(head.bias, head.weight\)"):
        load(tmp_path, dict(backbone), strict=True)


@pytest.mark.parametrize(
    "content",
    [
        {"model": [1]},
        {"model": {"backbone.weight": 1}},
        {"model": {1: torch.ones(2)}},
        {"model_state": {"w": torch.ones(2)}, "epoch": 3, "cfg": "text"},
        {"model": {"backbone.weight": torch.ones(2, 2).to_sparse()}},
        {"model": {"backbone.weight": torch.ones(2, 2, device="meta")}},
    ],
    ids=["list", "number", "key", "PySlowFast", "sparse", "meta"],
)
def test_what_is_no_state_dict_ends_in_one_line(tmp_path, content):
    with pytest.raises(
        UserError, match=r"x\.pth: .*(expected a state dict|not a name|no parameter fits)"
    ) as error:
        VideoCheckpointer(Model()).load(save(tmp_path / "x.pth", content))
    assert "\n" not in str(error.value)


def test_state_of_another_run_is_refused(tmp_path):
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    checkpointer = VideoCheckpointer(model, optimizer=optimizer)
    for state in ({"state": {}, "param_groups": []}, {}, None, 3):
        path = save(tmp_path / "x.pth", {"model": dict(model.state_dict()), "optimizer": state})
        with pytest.raises(UserError, match=r"x\.pth: its 'optimizer' is not of this run") as error:
            checkpointer.load(path)
        assert "\n" not in str(error.value)
        checkpointer.load(path, checkpointables=[])


def test_weights_alone_are_not_resumed_from(tmp_path):
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    save(tmp_path / "model_final.pth", {"model": Model().state_dict()})
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    before = model.head.weight.clone()
    checkpointer = VideoCheckpointer(model, str(tmp_path), optimizer=optimizer)
    with pytest.raises(UserError, match=r"model_final\.pth: it holds no 'optimizer'"):
        checkpointer.resume_or_load("", resume=True)
    assert torch.equal(model.head.weight, before)


def test_safetensors_are_weights(tmp_path):
    trained, model = Model(), Model()
    path = str(tmp_path / "release.safetensors")
    write_checkpoint(trained.state_dict(), path)
    VideoCheckpointer(model, strict=True).load(path)
    assert torch.equal(model.head.weight, trained.head.weight)
    with pytest.raises(UserError, match=r"head.bias \(3,\) instead of \(5,\)"):
        VideoCheckpointer(Model(classes=5)).load(path)


def test_weights_that_do_not_exist(tmp_path):
    with pytest.raises(UserError, match="nowhere.pth: no such file"):
        VideoCheckpointer(Model()).load(str(tmp_path / "nowhere.pth"))
    with pytest.raises(UserError, match="set MODEL.WEIGHTS"):
        VideoCheckpointer(Model(), strict=True).load("")
    with pytest.raises(UserError, match=r"catalog://x/y\.pkl: cannot be fetched"):
        VideoCheckpointer(Model()).load("catalog://x/y.pkl")


def test_a_resumed_run_ignores_nothing_of_its_own_checkpoint(tmp_path):
    start = save(tmp_path / "start.pth", Model(classes=5).state_dict())
    trained = Model()
    (tmp_path / "run").mkdir()
    VideoCheckpointer(trained, str(tmp_path / "run")).save("model_0000009")
    model = Model()
    checkpointer = VideoCheckpointer(model, str(tmp_path / "run"), ignore=("head.",))
    checkpointer.resume_or_load(start, resume=False)
    assert not torch.equal(model.head.weight, trained.head.weight)
    checkpointer.resume_or_load(start, resume=True)
    assert torch.equal(model.head.weight, trained.head.weight)


# ---- converting ---------------------------------------------------------------------------------


def full_size(config: str) -> dict[str, torch.Tensor]:
    register_all()
    return build_model(load_cfg(config, ["MODEL.DEVICE", "meta"])).state_dict()


def foreign_state(name: str) -> dict[str, torch.Tensor]:
    shapes = json.loads((GOLDEN / name).read_text())
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


@pytest.mark.parametrize("depth", [50, 101])
def test_official_vistr_files_key_by_key_and_back(depth):
    model = full_size(f"configs/VisTR/vistr_R{depth}_ytvis2019.yaml")
    official = foreign_state(f"vistr_resnet{depth}_state_dict_shapes.json")
    fmt = CONVERTER_REGISTRY["VisTR"]["vistr"]
    ours, fresh, unused = from_foreign(official, model, fmt)
    assert set(ours) == set(model)
    assert fresh == unused == []
    back = to_foreign(ours, model, fmt)
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in official.items()}


@pytest.mark.parametrize(
    ("config", "fmt", "file"),
    [
        ("detr_R50_500ep", "detr", "detr_resnet50"),
        ("detr_R101_500ep", "detr", "detr_resnet101"),
        ("detr_panoptic_R50", "detr_segm", "detr_resnet50_panoptic"),
    ],
)
def test_official_detr_files_key_by_key_and_back(config, fmt, file):
    model = full_size(f"configs/DETR/{config}.yaml")
    official = foreign_state(f"{file}_state_dict_shapes.json")
    fmt = CONVERTER_REGISTRY["DETR"][fmt]
    ours, fresh, unused = from_foreign(official, model, fmt)
    assert set(ours) == set(model)
    assert fresh == unused == []
    back = to_foreign(ours, model, fmt)
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in official.items()}


def test_a_detector_starts_a_model_with_masks():
    model = full_size("configs/DETR/detr_panoptic_R50.yaml")
    official = foreign_state("detr_resnet50_state_dict_shapes.json")
    official["class_embed.weight"] = torch.empty(251, 256, device="meta")
    official["class_embed.bias"] = torch.empty(251, device="meta")
    _, fresh, _ = from_foreign(official, model, CONVERTER_REGISTRY["DETR"]["detr"])
    assert {name.split(".")[1] for name in fresh} == {"mask_branch"}


@pytest.mark.parametrize("fmt", ["detr_d2", "detr_d2_segm"])
def test_detectron2_wrapper_files(fmt):
    """80 contiguous classes, detectron2's own names in the backbone, one "detr." more with masks."""
    masks = fmt == "detr_d2_segm"
    register_all()
    cfg = load_cfg(
        "configs/DETR/detr_R50_500ep.yaml",
        [
            *("MODEL.DEVICE", "meta", "MODEL.MASK_ON", masks),
            *("MODEL.DETR.NUM_CLASSES", 80, "MODEL.DETR.CLASS_LOGITS", []),
        ],
    )
    model = build_model(cfg).state_dict()
    file = "detr_resnet50_panoptic" if masks else "detr_resnet50"
    official = foreign_state(f"{file}_state_dict_shapes.json")
    prefix = "detr.detr." if masks else "detr."
    wrapper = {}
    for name, value in official.items():
        inner = name.removeprefix("detr.")
        if inner.startswith("backbone."):
            continue
        own = masks and not name.startswith("detr.")
        if inner.startswith("class_embed."):
            value = torch.empty(81, *value.shape[1:], device="meta")
        wrapper[("detr." if own else prefix) + inner] = value
    for name, value in model.items():
        if ".backbone." in name:
            inner = name.removeprefix("network.backbone.")
            wrapper[f"{prefix}backbone.0.backbone.{inner}"] = value
    ours, fresh, unused = from_foreign(wrapper, model, CONVERTER_REGISTRY["DETR"][fmt])
    assert set(ours) == set(model)
    assert fresh == unused == []
    assert set(to_foreign(ours, model, CONVERTER_REGISTRY["DETR"][fmt])) == set(wrapper)


def test_detr_pretraining_files():
    """The official rule: "detr" becomes "vistr"; classes, queries and what DETR lacks are initialised."""
    model = full_size("configs/VisTR/vistr_R50_ytvis2019.yaml")
    vistr = foreign_state("vistr_resnet50_state_dict_shapes.json")
    new = (
        "vistr.class_embed",
        "vistr.query_embed",
        "mask_head.conv_offset",
        "mask_head.dcn",
        "insmask",
    )
    detr = {
        ("detr" + key[5:] if key.startswith("vistr") else key): value
        for key, value in vistr.items()
        if not key.startswith(new)
    }
    detr["detr.class_embed.weight"] = torch.empty(92, 384, device="meta")
    detr["mask_head.lay5.weight"] = torch.empty(24, 48, 3, 3, device="meta")
    fmt = CONVERTER_REGISTRY["VisTR"]["detr"]
    ours, fresh, unused = from_foreign(detr, model, fmt)
    assert unused == ["detr.class_embed.weight", "mask_head.lay5.weight"]
    parts = {name.split(".")[1] for name in fresh}
    assert parts == {"class_embed", "query_embed", "mask_head", "insmask_head"}
    assert "network.mask_head.norms.4.weight" in ours  # gn5 is taken over


@pytest.mark.parametrize("masks", [True, False])
def test_our_own_detr_starts_vistr(masks):
    """Everything that both have, and nothing else, is taken over."""
    register_all()
    detr = build_model(
        load_cfg(
            "configs/DETR/detr_R50_d384.yaml", ["MODEL.DEVICE", "meta", "MODEL.MASK_ON", masks]
        )
    ).state_dict()
    vistr = full_size("configs/VisTR/vistr_R50_ytvis2019.yaml")
    fmt = CONVERTER_REGISTRY["VisTR"]["own_detr" if masks else "own_detr_boxes"]
    ours, fresh, unused = from_foreign(detr, vistr, fmt)
    anew = {"class_embed", "query_embed", "insmask_head"}
    if masks:
        assert {n for n in fresh if n.split(".")[1] not in anew} == {
            "network.mask_head.deform_conv.weight",
            "network.mask_head.deform_conv.offset.weight",
            "network.mask_head.deform_conv.offset.bias",
        }
        assert "network.mask_head.norms.4.weight" in ours
    else:
        assert {n.split(".")[1] for n in fresh} == anew | {"mask_head", "bbox_attention"}
    assert {n.split(".")[-2] for n in unused} <= {
        "class_embed",
        "query_embed",
        "last_conv",
        "out_conv",
    }


def test_conversion_lists_every_fault():
    model = full_size("configs/VisTR/vistr_R50_ytvis2019.yaml")
    state = foreign_state("vistr_resnet50_state_dict_shapes.json")
    del state["vistr.class_embed.bias"]
    state["vistr.class_embed.weight"] = torch.empty(5, 384, device="meta")
    state["surprise"] = torch.empty(1, device="meta")
    with pytest.raises(UserError) as error:
        from_foreign(state, model, CONVERTER_REGISTRY["VisTR"]["vistr"])
    for part in (
        "1 missing: vistr.class_embed.bias",
        "1 unknown: surprise",
        "1 misshapen: vistr.class_embed.weight (5, 384) instead of (42, 384)",
    ):
        assert part in str(error.value)
    with pytest.raises(UserError, match="no parameter of the format"):
        from_foreign({"x": torch.ones(1)}, model, CONVERTER_REGISTRY["VisTR"]["vistr"])
    with pytest.raises(UserError, match="known formats are vistr, detr, own_detr"):
        checkpoint_format("VisTR", "onnx")


# ---- adapting -----------------------------------------------------------------------------------


def test_adapters_see_the_model_under_foreign_names_and_widening_comes_last():
    def fold(state, model):
        return {name: value[: len(model[name])] for name, value in state.items()}, ["cut"]

    def widen(state, model):
        assert state["head"].shape == (2,)
        assert model["head"].shape == (2, 3)
        assert "w" not in model  # not in such files
        return {**state, "head": state["head"][:, None].expand(2, 3)}, ["made wider"]

    fmt = CheckpointFormat("x", lambda name: name.removeprefix("own."), ("own.w",), adapt=fold)
    model = {"own.head": torch.zeros(2, 3), "own.w": torch.zeros(1)}
    source = {"head": torch.arange(4.0)}
    state, notes = adapt_foreign(source, model, fmt, widen)
    assert notes == ["cut", "made wider"]
    assert len(source["head"]) == 4
    ours, fresh, _ = from_foreign(state, model, fmt)
    assert ours["own.head"].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert fresh == ["own.w"]


def test_sizes_that_could_be_widened_say_so():
    fmt = CheckpointFormat("x", lambda name: name, widen=lambda cfg: None)
    model, state = {"w": torch.zeros(3), "v": torch.zeros(3)}, {"w": torch.zeros(2)}
    with pytest.raises(
        UserError, match=r"w \(2,\) instead of \(3,\).*or enlarge them with --widen$"
    ):
        from_foreign(state, model, fmt)
    with pytest.raises(UserError, match="to those of the file$"):
        from_foreign({"w": torch.zeros(3)}, model, fmt)  # v is missing, which no widening mends


def test_names_without_use_are_used_where_the_model_has_them():
    fmt = CheckpointFormat("x", lambda name: name, not_in_model=("q.",))
    state = {"q.w": torch.ones(1), "w": torch.ones(1)}
    assert from_foreign(state, dict(state), fmt)[2] == []
    assert from_foreign(state, {"w": torch.ones(1)}, fmt)[2] == ["q.w"]

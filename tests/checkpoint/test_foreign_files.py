"""Files of other implementations as MODEL.WEIGHTS: recognised, converted in memory, told in one line."""

import logging
from argparse import Namespace

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from safetensors.torch import save_file
from torch import nn

from d2video.checkpoint import CONVERTER_REGISTRY, VideoCheckpointer, to_foreign
from d2video.checkpoint.torchvision_names import torchvision_resnet_name
from d2video.projects import register_all
from d2video.structures import class_names_of
from d2video.utils.errors import UserError
from tests.helpers.hugging_face import hub_model, saved, small_cfg
from tests.projects.DETR import tiny as detr
from tests.projects.IPT import tiny as ipt
from tests.projects.TrackFormer import tiny as trackformer
from tests.projects.VisTR import tiny as vistr
from tests.projects.VTN import tiny as vtn

register_all()

MASKS = ["MODEL.MASK_ON", True]
# Model and format of files that give all parameters.
WHOLE = {
    "DETR": (lambda: build_model(detr.tiny_cfg()), "detr"),
    "DETR with masks": (lambda: build_model(detr.tiny_cfg(*MASKS)), "detr_segm"),
    "DETR of the wrapper": (lambda: build_model(detr.tiny_cfg()), "detr_d2"),
    "DETR of the wrapper with masks": (lambda: build_model(detr.tiny_cfg(*MASKS)), "detr_d2_segm"),
    "VisTR": (lambda: build_model(vistr.tiny_cfg()), "vistr"),
    "TrackFormer of two frames": (lambda: trackformer.build("multi_frame"), "trackformer"),
    "TrackFormer with masks": (lambda: trackformer.build("detr_masks"), "trackformer"),
    "TrackFormer with track attention": (
        lambda: trackformer.build("detr_track_attention"),
        "trackformer",
    ),
    "IPT": (ipt.build, "ipt"),
    "VTN": (lambda: vtn.build("vit"), "pyslowfast"),
}
# What official files hold besides.
BESIDE = {
    "optimizer": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 1e-4}]},
    "args": Namespace(lr=1e-4, tracker=Namespace(patience=5)),
    "best": np.float64(0.5),
    "epoch": 3,
}


def official(model: nn.Module, label: str) -> dict:
    """An official file's content with the model's parameters."""
    fmt = CONVERTER_REGISTRY[type(model).__name__][label]
    state = {
        name: torch.randn(v.shape) if v.is_floating_point() else v
        for name, v in model.state_dict().items()
    }
    model.load_state_dict(state)
    parameters = to_foreign(model.state_dict(), state, fmt)
    return {fmt.file_key: parameters, **BESIDE} if fmt.file_key else parameters


def blank(build) -> nn.Module:
    model = build()
    for value in model.state_dict().values():
        value.zero_()
    return model


def differing(first: nn.Module, second: nn.Module) -> set[str]:
    others = second.state_dict()
    return {n for n, v in first.state_dict().items() if not torch.equal(v, others[n])}


@pytest.mark.parametrize("name", WHOLE)
def test_official_files_load(tmp_path, caplog, name):
    build, label = WHOLE[name]
    expected = build()
    torch.save(official(expected, label), tmp_path / "official.pth")
    model = blank(build)
    with caplog.at_level(logging.INFO):
        VideoCheckpointer(model, strict=True).load(str(tmp_path / "official.pth"))
    assert differing(expected, model) == set()
    (told,) = [r.message for r in caplog.records if "recognised as" in r.message]
    description = CONVERTER_REGISTRY[type(model).__name__][label].description
    assert f"official.pth: recognised as {description}; {len(expected.state_dict())} par" in told


def test_a_file_without_checkpoint_around_it_and_one_of_safetensors(tmp_path):
    expected, build = WHOLE["DETR"][0](), WHOLE["DETR"][0]
    state = official(expected, "detr")["model"]
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "a.pth")
    save_file(state, tmp_path / "b.safetensors")
    for file in ("a.pth", "b.safetensors"):
        model = blank(build)
        VideoCheckpointer(model, strict=True).load(str(tmp_path / file))
        assert differing(expected, model) == set(), file


# ---- starts of a training -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "label", "anew"),
    [
        (WHOLE["VisTR"][0], "detr", {"class_embed", "query_embed", "mask_head", "insmask_head"}),
        (WHOLE["TrackFormer with track attention"][0], "detr", {"track_attention"}),
        (lambda: build_model(detr.tiny_cfg(*MASKS)), "detr", {"mask_branch"}),
    ],
)
def test_a_detector_starts_another_model(tmp_path, caplog, build, label, anew):
    """The parts that it lacks are told; a prediction refuses such a file."""
    expected = build()
    torch.save(official(expected, label), tmp_path / "detr.pth")
    model = blank(build)
    VideoCheckpointer(model).load(str(tmp_path / "detr.pth"))
    names = differing(expected, model)
    assert {name.split(".")[1] for name in names} == anew
    (told,) = [r.message for r in caplog.records if "newly initialised" in r.message]
    assert all(name in told for name in names)
    with pytest.raises(UserError, match=rf"{len(names)} missing"):
        VideoCheckpointer(model, strict=True).load(str(tmp_path / "detr.pth"))


def test_a_detr_of_this_library_starts_a_vistr(tmp_path):
    expected = WHOLE["VisTR"][0]()
    fmt = CONVERTER_REGISTRY["VisTR"]["own_detr"]
    state = to_foreign(expected.state_dict(), expected.state_dict(), fmt)
    state["network.class_embed.weight"] = torch.zeros(4, 24)
    state["network.query_embed.weight"] = torch.zeros(4, 24)
    torch.save({"model": state, "meta_architecture": "DETR"}, tmp_path / "model_final.pth")
    model = blank(WHOLE["VisTR"][0])
    VideoCheckpointer(model).load(str(tmp_path / "model_final.pth"))
    assert "network.transformer.encoder.layers.0.linear1.weight" not in differing(expected, model)


def test_rows_of_coco_for_a_tracker(tmp_path, caplog):
    """As in a conversion: class c is category id c + 1, and the sampling offsets are told of."""
    key = "MODEL.TRACKFORMER.NUM_CLASSES"
    coco = trackformer.build("deformable", key, 91)
    content = official(coco, "deformable_detr")
    torch.save(content, tmp_path / "coco.pth")
    model = trackformer.build("deformable", key, 20)
    with caplog.at_level(logging.INFO):
        VideoCheckpointer(model, strict=True).load(str(tmp_path / "coco.pth"))
    rows = content["model"]["class_embed.0.bias"][1:21]
    assert torch.equal(model.state_dict()["network.class_embed.0.bias"], rows)
    (told,) = [r.message for r in caplog.records if "recognised as" in r.message]
    assert "recognised as official Deformable DETR" in told
    assert "class rows: 1-20" in told
    assert "OFFSET_UNIT wh" in told


@pytest.mark.parametrize("build", [WHOLE["DETR"][0], lambda: vtn.build("resnet")])
def test_a_resnet_of_torchvision_is_the_start_of_a_backbone(tmp_path, build):
    expected = build()
    before = next(n for n in expected.state_dict() if n.endswith("stem.conv1.weight"))
    prefix = before.removesuffix("stem.conv1.weight")
    resnet = {
        torchvision_resnet_name(name.removeprefix(prefix)): torch.randn(value.shape)
        for name, value in expected.state_dict().items()
        if name.startswith(prefix) and "num_batches" not in name
    }
    beside = {"fc.weight": torch.zeros(9, 4), "bn1.num_batches_tracked": torch.tensor(0)}
    torch.save(resnet | beside, tmp_path / "resnet50-0676ba61.pth")
    VideoCheckpointer(expected).load(str(tmp_path / "resnet50-0676ba61.pth"))
    found = expected.state_dict()
    assert torch.equal(found[before], resnet["conv1.weight"])
    assert torch.equal(
        found[f"{prefix}res3.0.shortcut.norm.running_var"],
        resnet["layer2.0.downsample.1.running_var"],
    )


def test_a_vision_transformer_of_timm_is_the_start_of_a_vtn(tmp_path):
    expected = vtn.build("vit")
    state = official(expected, "timm")["model"]
    torch.save({**state, "head.weight": torch.zeros(3, 32)}, tmp_path / "vit.pth")
    model = blank(lambda: vtn.build("vit"))
    VideoCheckpointer(model).load(str(tmp_path / "vit.pth"))
    assert {name.split(".")[0] for name in differing(expected, model)} == {
        "temporal_encoder",
        "head",
    }


# ---- other classes ------------------------------------------------------------------------------


def test_other_classes_are_refused_unless_they_are_to_start_anew(tmp_path):
    expected = WHOLE["DETR"][0]()
    torch.save(official(expected, "detr"), tmp_path / "detr.pth")
    model = build_model(detr.tiny_cfg("MODEL.DETR.NUM_CLASSES", 2))
    with pytest.raises(UserError, match="2 parameters have another shape: .*MODEL.WEIGHTS_IGNORE"):
        VideoCheckpointer(model).load(str(tmp_path / "detr.pth"))
    ignore = ("network.class_embed",)
    VideoCheckpointer(model, ignore=ignore).load(str(tmp_path / "detr.pth"))
    different = {
        n for n, v in model.state_dict().items() if v.shape != expected.state_dict()[n].shape
    }
    assert different == {"network.class_embed.weight", "network.class_embed.bias"}
    name = "network.query_embed.weight"
    assert torch.equal(model.state_dict()[name], expected.state_dict()[name])


def test_class_names_of_the_hub(tmp_path):
    """Fine-tuned models say their classes in config.json; names that are none do not count."""
    names = {0: "cat", 1: "dog", 2: "cow", 3: "pig"}
    path = saved(hub_model("DetrForObjectDetection", id2label=names), tmp_path / "named")
    model = build_model(small_cfg("DETR/detr_R50_500ep"))
    VideoCheckpointer(model, strict=True).load(str(path))
    assert class_names_of(model) == ["cat", "dog", "cow", "pig"]
    path = saved(hub_model("DetrForObjectDetection"), tmp_path / "nameless")
    model = build_model(small_cfg("DETR/detr_R50_500ep"))
    VideoCheckpointer(model, strict=True).load(str(path))
    assert class_names_of(model) is None


# ---- files that do not fit ----------------------------------------------------------------------


def test_names_of_several_formats_are_an_error_that_lists_them(tmp_path):
    coco = trackformer.build("deformable", "MODEL.TRACKFORMER.NUM_CLASSES", 91)
    torch.save(official(coco, "deformable_detr"), tmp_path / "coco.pth")
    message = r"coco.pth: .*several formats: trackformer \(official TrackFormer\), deformable_detr"
    with pytest.raises(UserError, match=message):
        VideoCheckpointer(coco).load(str(tmp_path / "coco.pth"))


@pytest.mark.parametrize("strict", [True, False])
def test_official_weights_of_another_model_are_named(tmp_path, strict):
    torch.save(official(WHOLE["VisTR"][0](), "vistr"), tmp_path / "x.pth")
    with pytest.raises(UserError, match="x.pth: these are weights of official VisTR .* is DETR"):
        VideoCheckpointer(WHOLE["DETR"][0](), strict=strict).load(str(tmp_path / "x.pth"))


def test_a_deformable_detr_is_not_taken_for_a_detr(tmp_path):
    model = trackformer.build("deformable", "MODEL.TRACKFORMER.NUM_CLASSES", 91)
    torch.save(official(model, "deformable_detr"), tmp_path / "x.pth")
    message = (
        "these are weights of official TrackFormer or official Deformable DETR, but the model is DETR: "
        "choose a config of TrackFormer or DeformableDETR"
    )
    with pytest.raises(UserError, match=message):
        VideoCheckpointer(WHOLE["DETR"][0]()).load(str(tmp_path / "x.pth"))


def test_a_mask_head_by_itself_is_no_start(tmp_path):
    """Of a model of another depth only the mask head would fit; the detector would be newly initialised."""
    torch.save(official(trackformer.build("detr_masks"), "detr_segm"), tmp_path / "x.pth")
    model = trackformer.build("detr_masks", "MODEL.TRACKFORMER.ENC_LAYERS", 0)
    with pytest.raises(UserError, match="these are weights of official DETR with masks"):
        VideoCheckpointer(model).load(str(tmp_path / "x.pth"))


def test_official_weights_of_another_depth_are_refused_by_name(tmp_path):
    torch.save(official(WHOLE["DETR"][0](), "detr"), tmp_path / "x.pth")
    model = build_model(detr.tiny_cfg("MODEL.DETR.ENC_LAYERS", 0))
    with pytest.raises(UserError, match=r"x.pth: .*12 unknown \(transformer.encoder.layers.0"):
        VideoCheckpointer(model).load(str(tmp_path / "x.pth"))


def test_parameters_that_an_official_file_lacks(tmp_path, caplog):
    content = official(WHOLE["DETR"][0](), "detr")
    del content["model"]["input_proj.bias"]
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"1 missing \(network.input_proj.bias\)"):
        VideoCheckpointer(WHOLE["DETR"][0](), strict=True).load(str(tmp_path / "x.pth"))
    VideoCheckpointer(WHOLE["DETR"][0]()).load(str(tmp_path / "x.pth"))
    assert "are newly initialised: network.input_proj.bias" in caplog.text


def test_tasks_of_ipt_are_those_of_the_config(tmp_path):
    torch.save(official(ipt.build(), "ipt"), tmp_path / "x.pt")
    model = ipt.build("MODEL.IPT.TASKS", ["sr_x2", "derain"])
    with pytest.raises(UserError, match="x.pt: the file holds 3 tasks, MODEL.IPT.TASKS names 2"):
        VideoCheckpointer(model, strict=True).load(str(tmp_path / "x.pt"))


def test_a_truncated_official_file_and_one_with_objects_end_in_one_line(tmp_path):
    content = official(WHOLE["DETR"][0](), "detr")
    torch.save(content, tmp_path / "whole.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:50_000])
    torch.save({**content, "config": pytest.raises}, tmp_path / "objects.pth")
    model = WHOLE["DETR"][0]()
    for file, message in (("half", "truncated"), ("objects", "code or objects, which are never")):
        with pytest.raises(UserError, match=rf"{file}.pth: .*{message}") as error:
            VideoCheckpointer(model).load(str(tmp_path / f"{file}.pth"))
        assert "\n" not in str(error.value)
        assert "weights_only" not in str(error.value)


@pytest.mark.parametrize("shape", [(), (2,), (0, 3)])
@pytest.mark.parametrize(
    ("build", "label"),
    [(lambda: trackformer.build("deformable"), "deformable_detr"), WHOLE["VTN"], WHOLE["IPT"]],
)
def test_official_names_with_tensors_of_any_shape_end_in_one_line(tmp_path, build, label, shape):
    content = official(build(), label)
    state = content.get(CONVERTER_REGISTRY[type(build()).__name__][label].file_key, content)
    torch.save({name: torch.zeros(shape) for name in state}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="x.pth: ") as error:
        VideoCheckpointer(build()).load(str(tmp_path / "x.pth"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(), (2,)])
def test_names_of_transformers_with_tensors_of_any_shape_end_in_one_line(tmp_path, shape):
    model = hub_model("DetrForObjectDetection")
    torch.save({name: torch.zeros(shape) for name in model.state_dict()}, tmp_path / "x.bin")
    with pytest.raises(UserError, match=r"x.bin: \d+ parameters have another shape"):
        VideoCheckpointer(build_model(small_cfg("DETR/detr_R50_500ep"))).load(
            str(tmp_path / "x.bin")
        )

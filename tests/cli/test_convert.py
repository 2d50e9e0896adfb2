"""tools/convert_checkpoint.py there and back, on a very small model."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from safetensors.torch import load_file

from d2video.checkpoint import VideoCheckpointer, class_names_in, load_checkpoint_file
from d2video.cli.convert import main
from d2video.config import load_cfg
from d2video.config.stored import config_text
from d2video.structures import class_names_of
from tests.helpers import ROOT
from tests.helpers.file_server import Reply, file_server
from tests.projects.VisTR.tiny import CONFIG, SMALL, tiny_cfg

DETR = "configs/DETR/detr_tiny_shapes.yaml"


@pytest.fixture
def convert(monkeypatch):
    spec = importlib.util.spec_from_file_location("tool", ROOT / "tools/convert_checkpoint.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.chdir(ROOT)

    def run(
        source: Path, target: Path, *more: str, fmt: str | None = "vistr", config=CONFIG, opts=SMALL
    ) -> None:
        command = ["--config-file", config, "--input", str(source)]
        command += ["--format", fmt] if fmt else []
        tool.main([*command, "--output", str(target), *more, *map(str, opts)])

    return run


@pytest.fixture
def ours(tmp_path):
    """A checkpoint as a training run writes it."""
    torch.manual_seed(0)
    state = build_model(tiny_cfg()).state_dict()
    torch.save({"model": state, "iteration": 3}, tmp_path / "ours.pth")
    return state


def read(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["model"]


def test_there_and_back(convert, ours, tmp_path, capsys):
    convert(tmp_path / "ours.pth", tmp_path / "official.pth", "--reverse")
    official = read(tmp_path / "official.pth")
    assert torch.equal(official["vistr.class_embed.bias"], ours["network.class_embed.bias"])
    assert official.keys().isdisjoint(ours.keys() - {n for n in ours if "insmask" in n})

    convert(tmp_path / "official.pth", tmp_path / "back.pth")
    back = read(tmp_path / "back.pth")
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], value) for name, value in ours.items())
    assert f"{len(ours)} parameters written to" in capsys.readouterr().out


def test_the_format_is_recognised(convert, ours, tmp_path, capsys):
    convert(tmp_path / "ours.pth", tmp_path / "official.pth", "--reverse")
    convert(tmp_path / "official.pth", tmp_path / "named.pth")
    capsys.readouterr()
    convert(tmp_path / "official.pth", tmp_path / "back.pth", fmt=None)
    assert "recognised as official VisTR" in capsys.readouterr().out
    back, named = read(tmp_path / "back.pth"), read(tmp_path / "named.pth")
    assert back.keys() == named.keys() == ours.keys()
    assert all(torch.equal(back[name], value) for name, value in ours.items())


def test_safetensors_there_and_back(convert, ours, tmp_path):
    convert(tmp_path / "ours.pth", tmp_path / "official.safetensors", "--reverse")
    convert(tmp_path / "official.safetensors", tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], value) for name, value in ours.items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_release_is_the_parameters_and_what_explains_them(convert, ours, tmp_path, suffix):
    training = {"model": ours, "trainer": {"optimizer": {}}, "iteration": 3}
    torch.save(training, tmp_path / "model_final.pth")
    release = tmp_path / f"release{suffix}"
    convert(tmp_path / "model_final.pth", release, fmt=None)
    if suffix == ".pth":
        keys = {"model", "config", "meta_architecture", "d2video_version"}
        assert torch.load(release, weights_only=True).keys() == keys
    model = build_model(tiny_cfg())
    VideoCheckpointer(model, strict=True).load(str(release))
    assert all(torch.equal(model.state_dict()[name], value) for name, value in ours.items())


def test_parts_that_the_format_lacks_are_named(convert, ours, tmp_path, capsys):
    convert(tmp_path / "ours.pth", tmp_path / "detr.pth", "--reverse", fmt="detr")
    assert not any("class_embed" in name for name in read(tmp_path / "detr.pth"))
    convert(tmp_path / "detr.pth", tmp_path / "back.pth", fmt="detr")
    assert "parameters are newly initialised: " in capsys.readouterr().out
    assert "network.class_embed.weight" not in read(tmp_path / "back.pth")


def test_a_base_gives_what_the_format_lacks(convert, ours, tmp_path, capsys):
    convert(tmp_path / "ours.pth", tmp_path / "detr.pth", "--reverse", fmt="detr")
    base = str(tmp_path / "base.pth")
    torch.save({"model": {name: value + 1 for name, value in ours.items()}}, base)
    convert(tmp_path / "detr.pth", tmp_path / "back.pth", "--base", base, fmt="detr")
    back = read(tmp_path / "back.pth")
    taken = {name for name in ours if torch.equal(back[name], ours[name] + 1)}
    kept = {name for name in ours if torch.equal(back[name], ours[name])}
    assert taken | kept == set(ours)
    assert "network.class_embed.weight" in taken
    assert "network.input_proj.weight" in kept
    out = capsys.readouterr().out
    assert f"{len(taken)} parameters come from {base}: " in out
    assert "newly initialised" not in out

    wrong = {name: value.flatten()[:1] for name, value in ours.items()}
    torch.save({"model": wrong}, base)
    with pytest.raises(SystemExit):
        convert(tmp_path / "detr.pth", tmp_path / "new.pth", "--base", base, fmt="detr")
    assert "base.pth has network." in capsys.readouterr().err


def test_a_larger_model_out_of_a_smaller_one(convert, tmp_path, capsys):
    config = "configs/TrackFormer/trackformer_tiny_shapes.yaml"
    plain = [
        *("MODEL.TRACKFORMER.IN_FEATURES", "['res3']"),
        *("MODEL.TRACKFORMER.TRACK_LINKS", "False"),
        *("MODEL.TRACKFORMER.DEFORMABLE.TWO_STAGE", "False"),
        *("MODEL.TRACKFORMER.DEFORMABLE.DENSE_PROPOSALS", "False"),
        *("MODEL.TRACKFORMER.DEFORMABLE.NUM_LEVELS", "2"),
        *("MODEL.TRACKFORMER.ENC_LAYERS", "1"),
    ]
    larger = [
        *plain,
        *("MODEL.TRACKFORMER.DEFORMABLE.NUM_FRAMES", "2", "MODEL.TRACKFORMER.NUM_QUERIES", "22"),
    ]
    smaller = [
        *plain,
        "MODEL.TRACKFORMER.DEFORMABLE.NUM_FRAMES",
        "1",
        "MODEL.TRACKFORMER.NUM_QUERIES",
        "20",
    ]
    state = build_model(load_cfg(config, smaller)).state_dict()
    torch.save({"model": state}, tmp_path / "one.pth")
    files = tmp_path / "one.pth", tmp_path / "two.pth"
    arguments = {"fmt": "own", "config": config, "opts": larger}
    with pytest.raises(SystemExit):
        convert(*files, **arguments)
    error = capsys.readouterr().err
    assert "level_embed (2, 96) instead of (4, 96)" in error
    assert "--widen" in error
    assert error.count("\n") == 1

    convert(*files, "--widen", **arguments)
    out = capsys.readouterr().out
    assert "1 enlarged (20, 192) -> (22, 192), queries 20 to 21 anew: network.query_embed" in out
    assert "anew, old channels" not in out
    widened = read(files[1])
    model = build_model(load_cfg(config, list(map(str, larger))))
    model.load_state_dict(widened, strict=True)
    assert torch.equal(
        widened["network.query_embed.weight"][:20], state["network.query_embed.weight"]
    )
    assert widened["network.query_embed.weight"][20:].std() > 0.5  # not left empty


@pytest.mark.parametrize(
    ("more", "fmt", "message"),
    [
        (("--reverse", "--widen"), "vistr", "leave out --reverse"),
        (("--widen",), "vistr", "models of the format 'official VisTR .*' cannot be enlarged"),
        (
            (),
            "vistr",
            "ours.pth: these are weights of VisTR, .* give --reverse, or leave out --format",
        ),
        (("--output", "{input}"), "vistr", "ours.pth is the input itself"),
        (("--reverse",), None, "--reverse needs the foreign --format"),
        (("--reverse",), "onnx", "no checkpoint format 'onnx'"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    convert, ours, tmp_path, capsys, more, fmt, message
):
    more = [word.format(input=tmp_path / "ours.pth") for word in more]
    with pytest.raises(SystemExit) as stop:
        convert(tmp_path / "ours.pth", tmp_path / "new.pth", *more, fmt=fmt)
    assert stop.value.code == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "new.pth").exists()


@pytest.mark.parametrize(
    ("fmt", "config", "message"),
    [
        (None, DETR, "weights of official VisTR.* the model is DETR: choose a config of VisTR"),
        ("detr", DETR, "weights of official VisTR.* the model is DETR: choose a config of VisTR"),
    ],
)
def test_official_weights_given_as_others_are_named(
    convert, ours, tmp_path, capsys, fmt, config, message
):
    official = tmp_path / "official.pth"
    convert(tmp_path / "ours.pth", official, "--reverse")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        convert(
            official, tmp_path / "new.pth", fmt=fmt, config=config, opts=SMALL * (config == CONFIG)
        )
    error = capsys.readouterr().err.strip()
    assert re.search(message, error)
    assert "official.pth: these are" in error


def names_in(path):
    return class_names_in(load_checkpoint_file(path), path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_class_names_are_kept(convert, ours, tmp_path, capsys, suffix):
    training = {"model": ours, "class_names": ["cat", "", "dog"], "iteration": 3}
    torch.save(training, tmp_path / "model_final.pth")
    release, again = tmp_path / f"release{suffix}", tmp_path / f"again{suffix}"
    convert(tmp_path / "model_final.pth", release, fmt=None)
    assert "names of 2 classes: cat, dog" in capsys.readouterr().out
    convert(release, again, fmt=None)
    assert names_in(again) == ["cat", "", "dog"]
    model = build_model(tiny_cfg())
    VideoCheckpointer(model, strict=True).load(str(again))
    assert class_names_of(model) == ["cat", "", "dog"]


def test_class_names_of_official_files(convert, ours, tmp_path, scratch_catalog, capsys):
    """The names that the config's data set is registered with, each at the row that predicts it."""
    convert(tmp_path / "ours.pth", tmp_path / "official.pth", "--reverse")
    assert names_in(tmp_path / "official.pth") is None
    convert(tmp_path / "official.pth", tmp_path / "back.pth")
    assert names_in(tmp_path / "back.pth") is None  # no file is read for them
    MetadataCatalog.get("mine").thing_classes = ["cat", "dog"]
    opts = [*SMALL, "DATASETS.TRAIN", "['mine']", "MODEL.VISTR.LABEL_OFFSET", 1]
    convert(tmp_path / "official.pth", tmp_path / "back.pth", opts=opts)
    assert names_in(tmp_path / "back.pth") == ["", "cat", "dog"]
    MetadataCatalog.get("more").thing_classes = [*"abcd"]
    with pytest.raises(SystemExit):
        convert(
            tmp_path / "official.pth",
            tmp_path / "new.pth",
            opts=[*SMALL, "DATASETS.TRAIN", "['more']"],
        )
    assert "more has 4 classes: set MODEL.VISTR.NUM_CLASSES to 4" in capsys.readouterr().err


def test_class_names_go_with_the_class_head(convert, ours, tmp_path, scratch_catalog):
    """Which a DETR does not give to a VisTR."""
    MetadataCatalog.get("mine").thing_classes = ["cat", "dog"]
    opts = [*SMALL, "DATASETS.TRAIN", "['mine']"]
    convert(tmp_path / "ours.pth", tmp_path / "detr.pth", "--reverse", fmt="detr")
    convert(tmp_path / "detr.pth", tmp_path / "back.pth", fmt="detr", opts=opts)
    assert names_in(tmp_path / "back.pth") is None
    base = tmp_path / "base.pth"
    torch.save({"model": ours, "class_names": ["cow"]}, base)
    convert(
        tmp_path / "detr.pth", tmp_path / "back.pth", "--base", str(base), fmt="detr", opts=opts
    )
    assert names_in(tmp_path / "back.pth") == ["cow"]


def test_the_input_may_be_an_address_and_bring_its_config(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    VideoCheckpointer(build_model(tiny_cfg()), str(run), config=config_text(tiny_cfg())).save(
        "model_final"
    )
    with file_server() as server:
        server.replies["/run/m.pth"] = Reply((run / "model_final.pth").read_bytes())
        output = str(tmp_path / "released.safetensors")
        main(["--input", f"{server.address}/run/m.pth", "--output", output])
    assert "parameters written" in capsys.readouterr().out
    state = load_file(output)
    assert state.keys() == load_checkpoint_file(run / "model_final.pth")["model"].keys()

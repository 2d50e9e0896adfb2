"""The config of a model from its checkpoint, folder, address or name."""

import logging

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model

from d2video.checkpoint import VideoCheckpointer, load_checkpoint_file, write_checkpoint
from d2video.config.stored import config_text
from d2video.model_zoo import known_weights, model_config
from d2video.structures import set_class_names
from d2video.utils.errors import UserError
from tests.projects.DETR.tiny import tiny_cfg

NAMES = ["bolt", "nut"]
CPU = ("MODEL.DEVICE", "cpu")
REGISTER = [["my_parts", "coco", {"json_file": "parts.json", "image_root": "parts"}]]


def forget(name):
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint as a training writes it, whose data are nowhere."""
    folder = tmp_path_factory.mktemp("run")
    cfg = tiny_cfg(
        "DATASETS.REGISTER", REGISTER, "DATASETS.TRAIN", ["my_parts"], "INPUT.MIN_SIZE_TEST", 123
    )
    forget("my_parts")
    cfg.merge_from_list(
        ["MODEL.WEIGHTS", "start.pth", "OUTPUT_DIR", "/nowhere", "SOLVER.BASE_LR", 0.5]
    )
    torch.manual_seed(0)
    model = build_model(cfg)
    set_class_names(model, NAMES)
    VideoCheckpointer(model, str(folder), config=config_text(cfg)).save("model_final", iteration=3)
    return folder / "model_final.pth"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch, scratch_catalog):
    monkeypatch.chdir(tmp_path)


def changed(path, tmp_path, **changes):
    """A copy of a checkpoint with other content; None: without it."""
    content = {**load_checkpoint_file(path), **changes}
    copy = tmp_path / "changed.pth"
    torch.save({key: value for key, value in content.items() if value is not None}, copy)
    return str(copy)


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_checkpoint_holds_its_config_but_not_what_belongs_to_the_run(trained, caplog):
    cfg = model_config(str(trained), opts=CPU)
    assert cfg.MODEL.META_ARCHITECTURE == "DETR"
    assert cfg.INPUT.MIN_SIZE_TEST == 123
    assert cfg.SOLVER.BASE_LR == 0.5
    assert str(trained) == cfg.MODEL.WEIGHTS
    assert cfg.OUTPUT_DIR == "./output"
    text = load_checkpoint_file(trained)["config"]
    assert not any(each in text for each in ("start.pth", "/nowhere", "DEVICE", "NUM_WORKERS"))
    assert warnings(caplog) == []
    model = build_model(cfg)
    VideoCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)
    assert model.class_names == NAMES


def test_overrides_win(trained):
    cfg = model_config(
        opts=["MODEL.WEIGHTS", str(trained), "INPUT.MIN_SIZE_TEST", 7, "OUTPUT_DIR", "x"]
    )
    assert (cfg.INPUT.MIN_SIZE_TEST, cfg.OUTPUT_DIR) == (7, "x")
    other = model_config(str(trained), opts=["MODEL.WEIGHTS", "other.pth"])
    assert (other.INPUT.MIN_SIZE_TEST, other.MODEL.WEIGHTS) == (123, "other.pth")


def test_its_data_sets_are_registered_where_that_can_be(trained, caplog):
    model_config(str(trained))
    assert "my_parts" in DatasetCatalog
    model_config(str(trained))
    assert warnings(caplog) == []
    forget("my_parts")
    tiny_cfg("DATASETS.REGISTER", [["my_parts", "image_folder", {"image_root": "others"}]])
    cfg = model_config(str(trained))
    assert cfg.INPUT.MIN_SIZE_TEST == 123
    (told,) = warnings(caplog)
    assert "there is a dataset my_parts already" in told
    assert model_config(str(trained), opts=["DATASETS.REGISTER", "[]"]).DATASETS.REGISTER == []
    with pytest.raises(UserError, match="there is a dataset my_parts already"):
        model_config(str(trained), opts=["DATASETS.REGISTER", REGISTER])


def test_relative_paths_of_data_sets_become_absolute(tmp_path):
    text = config_text(tiny_cfg("DATASETS.REGISTER", REGISTER))
    assert f"json_file: {tmp_path}/parts.json" in text


def test_a_release_holds_the_same(trained, tmp_path):
    content = load_checkpoint_file(trained)
    keys = ("config", "meta_architecture", "d2video_version")
    metrics = {"last": {"iteration": 3, "results": {"bbox/AP": 41.5, "bbox/AP-nut": None}}}
    about = {**{key: content[key] for key in keys}, "metrics": metrics}
    write_checkpoint(content["model"], tmp_path / "r.safetensors", content["class_names"], about)
    read = load_checkpoint_file(tmp_path / "r.safetensors")
    assert {key: read[key] for key in about} == about
    assert read["class_names"] == content["class_names"]
    cfg = model_config("r.safetensors", opts=CPU)
    assert cfg.INPUT.MIN_SIZE_TEST == 123
    model = build_model(cfg)
    VideoCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)


def test_a_given_config_wins_and_differences_are_told(trained, tmp_path, caplog):
    config = tmp_path / "mine.yaml"
    text = load_checkpoint_file(trained)["config"].replace(
        "MIN_SIZE_TEST: 123", "MIN_SIZE_TEST: 99"
    )
    text = text.replace("ENC_LAYERS: 1", "ENC_LAYERS: 2").replace("BASE_LR: 0.5", "BASE_LR: 0.1")
    config.write_text(text)
    cfg = model_config(
        str(trained), str(config), ["MODEL.DETR.ENC_LAYERS", 3, "MODEL.DEVICE", "cpu"]
    )
    assert (cfg.INPUT.MIN_SIZE_TEST, cfg.MODEL.DETR.ENC_LAYERS) == (99, 3)
    (told,) = warnings(caplog)
    assert "differs from that of checkpoint" in told
    assert "INPUT.MIN_SIZE_TEST is 99 instead of 123" in told
    assert not any(key in told for key in ("ENC_LAYERS is 3", "BASE_LR", "DEVICE", "OUTPUT_DIR"))
    caplog.clear()
    config.write_text(load_checkpoint_file(trained)["config"])
    model_config(str(trained), str(config), ["MODEL.WEIGHTS", ""])
    assert warnings(caplog) == []
    config.write_text(text.replace("99", "88") + f"\nMODEL.WEIGHTS: {trained.parent}\n")
    assert str(trained) == model_config("", str(config)).MODEL.WEIGHTS
    assert "INPUT.MIN_SIZE_TEST is 88 instead of 123" in warnings(caplog)[-1]


BOMB = "a: &a {x: 1}\n" + "".join(
    f"{k}: &{k} {{x: *{p}, y: *{p}}}\n" for p, k in zip("abcdefgh", "bcdefghi")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MODEL: [", "is not valid YAML"),
        ("just words", "must hold keys and values"),
        ("- MODEL", "must hold keys and values"),
        ("MODEL: !!python/object/apply:os.system [ls]", "the tag .* is not read"),
        (BOMB, "aliases are not read"),
        ("[" * 3000, "is not valid YAML"),
        ("MODEL: {META_ARCHITECTURE: Nothing}", "MODEL.META_ARCHITECTURE"),
        ("MODEL: {META_ARCHITECTURE: 3}", "META_ARCHITECTURE is 3"),
        ("MODEL: 3", "MODEL is 3"),
        ("INPUT: {VIDEO: {MAX_DECODED_FRAMES: 3}}", "no longer exists"),
        ("x" * 1_000_001, "more than any"),
        (["MODEL"], "its config is a list, not text"),
        (None, "holds no config, and .*: give --config-file"),
    ],
)
def test_a_broken_config_inside_is_refused_in_one_line(trained, tmp_path, caplog, text, message):
    path = changed(trained, tmp_path, config=text)
    with pytest.raises(UserError, match=message) as caught:
        model_config(path)
    assert len(str(caught.value)) < 1000
    if text is not None:  # it is not needed
        cfg = model_config(path, "DETR/detr_R50_500ep")
        assert cfg.MODEL.DETR.HIDDEN_DIM == 256


def test_keys_of_another_version_are_told(trained, tmp_path, caplog):
    more = "\nNEW: {KEY: 3}\n_BASE_: /etc/passwd\nMODEL.DETR.LATER: 1\n"
    path = changed(trained, tmp_path, config=load_checkpoint_file(trained)["config"] + more)
    assert model_config(path).INPUT.MIN_SIZE_TEST == 123
    (told,) = warnings(caplog)
    assert "not used: NEW.KEY; _BASE_; MODEL.DETR.LATER" in told


def test_what_belongs_to_the_run_is_not_read_from_a_strangers_file_either(trained, tmp_path):
    more = "\nMODEL.DEVICE: cuda:9\nOUTPUT_DIR: /etc\nMODEL.TIMM.PRETRAINED: True\n"
    path = changed(trained, tmp_path, config=load_checkpoint_file(trained)["config"] + more)
    cfg = model_config(path)
    assert (cfg.MODEL.DEVICE, cfg.OUTPUT_DIR) != ("cuda:9", "/etc")
    assert not cfg.MODEL.TIMM.PRETRAINED


def test_the_checkpoint_of_a_folder(trained, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(UserError, match="holds no checkpoint"):
        model_config("run")
    for name in ("model_0000004.pth", "model_final.pth", "model_0000009.pth"):
        (run / name).write_bytes(trained.read_bytes())
    (run / "last_checkpoint").write_text("model_final.pth")
    assert model_config("run").MODEL.WEIGHTS == "run/model_final.pth"
    (run / "last_checkpoint").write_text("gone.pth")
    assert model_config("run/").MODEL.WEIGHTS == "run/model_0000009.pth"
    (run / "model_best.pth").write_bytes(trained.read_bytes())
    assert model_config("run").MODEL.WEIGHTS == "run/model_best.pth"
    assert known_weights("run") == "run/model_best.pth"


def test_names_of_the_zoo(trained, tmp_path, caplog):
    cfg = model_config("DETR/detr_panoptic_R50")
    assert cfg.MODEL.DETR.PANOPTIC.ENABLED
    assert cfg.MODEL.WEIGHTS.startswith("https://dl.fbaipublicfiles.com/detr/detr-r50-panoptic")
    assert known_weights("DETR/detr_panoptic_R50.yaml") == cfg.MODEL.WEIGHTS
    assert model_config(opts=["MODEL.WEIGHTS=DETR/detr_panoptic_R50"]) == cfg
    model_config("DETR/detr_panoptic_R50", "DETR/detr_R50_500ep")
    assert "MODEL.DETR.NUM_CLASSES is 91 instead of 250" in warnings(caplog)[-1]
    # A path that exists comes first.
    (tmp_path / "DETR").mkdir()
    (tmp_path / "DETR/detr_panoptic_R50").write_bytes(trained.read_bytes())
    assert model_config("DETR/detr_panoptic_R50").INPUT.MIN_SIZE_TEST == 123


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("", "no model is given"),
        ("missing.pth", "missing.pth: no such file"),
        ("DETR/detr_panoptic_r50", "did you mean DETR/detr_panoptic_R50"),
        ("detr_panoptic_R50", "did you mean DETR/detr_panoptic_R50"),
        ("DETR/detr_R50_150ep", "no weights are published for this config"),
        ("facebook/detr-resnet-50", "on the Hugging Face Hub: hf://facebook/detr-resnet-50"),
        ("mine.yaml", "this is a config: give it as --config-file"),
        ("words.pth", "not a readable checkpoint"),
        ("bare.pth", "holds no config, and .*: give --config-file"),
    ],
)
def test_mistakes(tmp_path, model, message):
    (tmp_path / "mine.yaml").write_text("SEED: 1")
    (tmp_path / "words.pth").write_text("words")
    torch.save({"weight": torch.ones(3)}, tmp_path / "bare.pth")
    with pytest.raises(UserError, match=message):
        model_config(model)

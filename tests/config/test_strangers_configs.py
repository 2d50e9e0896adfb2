"""Configs of strangers are data: nothing in them is run."""

import pytest

from d2video.config import load_cfg
from d2video.projects import register_all
from d2video.utils.errors import UserError

register_all()


@pytest.mark.parametrize("where", ["file", "base", "list of bases"])
@pytest.mark.parametrize(
    "value",
    [
        '!!python/object/apply:os.mkdir ["{made}"]',
        '!!python/object/new:os.mkdir ["{made}"]',
        "!!python/object/apply:eval [\"__import__('os').mkdir('{made}')\"]",
        "!!python/name:os.mkdir ''",
        "!!python/module:os ''",
    ],
)
def test_no_code_in_a_config_is_run(tmp_path, where, value):
    made = tmp_path / "made"
    evil = tmp_path / "evil.yaml"
    evil.write_text(f"VERSION: 2\nOUTPUT_DIR: {value.replace('{made}', str(made))}\n")
    config = evil
    if where != "file":
        config = tmp_path / "config.yaml"
        base = "evil.yaml" if where == "base" else "[evil.yaml]"
        config.write_text(f"_BASE_: {base}\nVERSION: 2\n")
    with pytest.raises(UserError, match=r"evil\.yaml: the tag !!python/\S+ is not read") as error:
        load_cfg(str(config), [])
    assert "\n" not in str(error.value)
    assert not made.exists()


@pytest.mark.parametrize(
    "value", ["__import__('os').mkdir('{made}')", "!!python/object/apply:os.mkdir ['{made}']"]
)
def test_no_code_on_the_command_line_is_run(tmp_path, value):
    made = tmp_path / "made"
    cfg = load_cfg("", ["OUTPUT_DIR", value.replace("{made}", str(made))])
    assert "mkdir" in cfg.OUTPUT_DIR  # a text like any other
    assert not made.exists()


@pytest.mark.parametrize("where", ["file", "base"])
@pytest.mark.parametrize("text", ["A: " + "[" * 30_000, "{a: " * 30_000 + "1" + "}" * 30_000])
def test_deep_values_in_a_file(tmp_path, text, where):
    config = tmp_path / "deep.yaml"
    config.write_text(text)
    if where == "base":
        config = tmp_path / "config.yaml"
        config.write_text("_BASE_: deep.yaml\n")
    with pytest.raises(UserError, match=r"deep\.yaml is not valid YAML"):
        load_cfg(str(config), [])


def test_anchors_are_for_configs_too(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("TEST: {EVAL_PERIOD: &n 7}\nSOLVER: {CHECKPOINT_PERIOD: *n}\n")
    assert load_cfg(str(config), []).SOLVER.CHECKPOINT_PERIOD == 7


def test_deep_values_on_the_command_line():
    with pytest.raises(UserError):
        load_cfg("", ["SOLVER.MAX_ITER", "-" * 100_000 + "1"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SEED: 0\nSOLVER: {GAMMA: 0.5}\nSEED: 1\n", "SEED is given twice in .* line 3"),
        ("SOLVER:\n  GAMMA: 0.5\n  'GAMMA': 0.1\n", "GAMMA is given twice in .* line 3"),
        ("SOLVER: !include solver.yaml\n", "the tag !include is not read: write the value itself"),
        ("DATASETS: {TRAIN: !!python/tuple [a]}\n", "the tag !!python/tuple is not read"),
        ("? [a]\n: 3\n", "unhashable key"),
        ("_BASE: other.yaml\n", r"no key _BASE: did you mean _BASE_\?"),
        ("MODEL: {_BASE_: other.yaml}\n", r"no key MODEL._BASE_: did you mean _BASE_\?"),
        (
            "DATASETS: {REGISTER: {mine: {a: 3}}}\n",
            "DATASETS.REGISTER is a list, without keys below",
        ),
        ("SOLVER: {BASE_LR: {X: 3}}\n", "SOLVER.BASE_LR is a float, without keys below"),
    ],
)
def test_slips_in_a_file(tmp_path, text, message):
    config = tmp_path / "config.yaml"
    config.write_text(text)
    with pytest.raises(UserError, match=message):
        load_cfg(str(config), [])


def test_merged_anchors_are_not_given_twice(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("MODEL:\n  VISTR: &a {L1_WEIGHT: 3.0}\n  DETR: {<<: *a, L1_WEIGHT: 4.0}\n")
    cfg = load_cfg(str(config), [])
    assert (cfg.MODEL.VISTR.L1_WEIGHT, cfg.MODEL.DETR.L1_WEIGHT) == (3.0, 4.0)

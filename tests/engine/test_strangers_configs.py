"""Configs of strangers are data: nothing in them is run."""

import pytest

from d2video.engine import load_cfg
from d2video.utils.errors import UserError


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
    with pytest.raises(UserError, match=r"could not determine a constructor.*python/") as error:
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

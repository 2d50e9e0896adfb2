"""``d2video``: its commands, what it says of them, and what it says without detectron2."""

import importlib
import os
import subprocess
import sys

import pytest

import d2video
from d2video.cli import COMMANDS, main
from d2video.cli.arguments import CONFIG_NODES, is_config_key
from d2video.cli.train import parse_args as train_args
from d2video.config import get_cfg
from d2video.projects import register_all
from d2video.utils import detectron2_missing
from d2video.utils.errors import UserError
from tests.helpers import ROOT

# Like a Python without detectron2.
WITHOUT = "import sys; sys.modules['detectron2'] = None; sys.path.insert(0, sys.argv.pop(1))\n"


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_commands_are_listed(words, capsys):
    main(words)
    lines = capsys.readouterr().out.splitlines()
    for name, summary in COMMANDS.items():
        assert any(line.split() == [name, *summary.split()] for line in lines)
    assert max(map(len, lines)) <= 100


def test_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"d2video {d2video.__version__}\n"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("predit", "did you mean predict?"),
        ("Train", "did you mean train?"),
        ("install_detectron2", "did you mean install-detectron2?"),
        ("zzz", "'d2video --help' lists them"),
        ("--zzz", "no command '--zzz'"),
    ],
)
def test_an_unknown_command_is_one_line(word, said, capsys):
    with pytest.raises(SystemExit) as end:
        main([word, "--help"])
    error = capsys.readouterr().err
    assert end.value.code == 1
    assert error.count("\n") == 1
    assert said in error


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: d2video {name} ")


@pytest.mark.parametrize(
    ("line", "config", "opts"),
    [
        ("c --num-gpus 2 SEED 1", "c", ["SEED", "1"]),
        ("--num-gpus 2 c SEED 1", "c", ["SEED", "1"]),
        ("--num-gpus 2 --config-file c SEED=1", "c", ["SEED=1"]),
        ("--num-gpus 2 MODEL.WEIGHTS c", "", ["MODEL.WEIGHTS", "c"]),
        ("--num-gpus 2 --config-file c model.weights c", "c", ["model.weights", "c"]),
        ("IMG.yaml --num-gpus 2", "IMG.yaml", []),
    ],
)
def test_a_config_to_train_comes_first_or_before_the_keys(line, config, opts):
    args = train_args(line.split())
    assert (args.config_file, args.opts, args.num_gpus) == (config, opts, 2)


@pytest.mark.parametrize(
    "line", ["a --config-file b/c", "--config-file a b/c", "a b/c", "a --num-gpus 2 b/c SEED 1"]
)
def test_two_configs_to_train(line):
    with pytest.raises(UserError, match="two configs are given, a and b/c"):
        train_args(line.split())


@pytest.mark.parametrize("line", ["", "--resume"])
def test_no_config_to_train(line):
    with pytest.raises(UserError, match="no config is given"):
        train_args(line.split())


@pytest.mark.parametrize(
    ("words", "status", "lines"),
    [(["--help"], 141, 0), (["models"], 141, 0), (["models", "nix"], 1, 1)],
)
def test_a_reader_of_its_output_may_leave(words, status, lines):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "d2video", *words]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(write)
    assert (done.returncode, done.stderr.count("\n")) == (status, lines), done.stderr


def test_keys_are_told_from_files():
    register_all()
    assert set(get_cfg()) <= set(CONFIG_NODES)
    assert is_config_key("MODEL.WEIGHTS")
    assert not is_config_key("DSC_0001.JPG")


# ---- without detectron2 ----------------------------------------------------------------------------


def without_detectron2(code, *words):
    command = [sys.executable, "-c", WITHOUT + code, str(ROOT), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd="/")


def test_importing_works_without_a_word():
    done = without_detectron2("import d2video, d2video.projects.detr")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_names_of_the_package_raise_the_same_line():
    code = """
for name in (*d2video.__all__, "x"):
    try:
        getattr(d2video, name)
    except (ImportError, AttributeError) as error:
        print(name, error)
"""
    done = without_detectron2(f"import d2video{code}")
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said.pop("x") == "module 'd2video' has no attribute 'x'"
    assert {"load", "Predictor", "VideoFrame", "get_cfg", "model_zoo"} <= {*said}
    assert {*said.values()} == {detectron2_missing.MESSAGE}
    assert "d2video install-detectron2" in detectron2_missing.MESSAGE


def test_commands_end_with_that_line(tmp_path):
    """All but the one that installs it: what it needs is there. So do the doors in tools/."""
    code = """
import contextlib, io
from d2video.cli import COMMANDS, main
for name in COMMANDS:
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            main([name, "--wheel", "none.whl"])
    except SystemExit as end:
        print(name, end.code, repr(errors.getvalue()))
from d2video.cli.train import main
main(["--config-file", "c"])
"""
    done = without_detectron2(code)
    assert (done.returncode, done.stderr) == (1, f"{detectron2_missing.MESSAGE}\n")
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said.pop("install-detectron2") == r"1 'error: --wheel none.whl: no such file\n'"
    line = f"{detectron2_missing.MESSAGE}\n"
    assert said == {name: f"1 {line!r}" for name in COMMANDS if name != "install-detectron2"}


def test_the_command_that_installs_it_does_not_ask_for_itself():
    code = "sys.argv[1:] = ['install-detectron2', '--wheel', 'none.whl']"
    done = without_detectron2(f"{code}\nfrom d2video.cli import main\nmain()")
    assert (done.returncode, done.stderr) == (1, "error: --wheel none.whl: no such file\n")


def test_modules_of_commands_have_their_names():
    for name in COMMANDS:
        assert importlib.import_module(f"d2video.cli.{name.replace('-', '_')}").main


@pytest.mark.parametrize(
    ("name", "more"), [("check", []), ("show-data", []), ("benchmark", ["--repeats", "2"])]
)
def test_a_config_comes_first_in_every_command(name, more, capsys):
    with pytest.raises(SystemExit):
        main([name, "DETR/detr_R50_50ep", *more])
    assert "error: config DETR/detr_R50_50ep: no such file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([name, *more, "a", "--config-file", "b", "SEED", "1"])
    assert "two configs are given, a and b" in capsys.readouterr().err

"""The command line of the page; what it serves is tested in tests/app."""

import sys

import pytest

from d2video.cli import app


def test_without_gradio_a_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SystemExit) as stop:
        app.main(["--model", "DETR/detr_R50_500ep"])
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert said == "error: d2video app: gradio is missing; install it: pip install 'd2video[app]'\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: --model"),
        (["--model", "m.pth", "--port", "70000"], "--port is 70000: give a number from 0 to 65535"),
        (["--model", "m.pth", "--max-seconds", "0"], "must be above 0, not 0"),
        (["--model", "m.pth", "--max-frames", "0"], "must be at least 1, not 0"),
    ],
)
def test_mistakes(words, said, capsys):
    with pytest.raises(SystemExit) as stop:
        app.main(words)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_models_keys_and_limits():
    words = ["--model", "a.pth", "--model", "b", "--max-upload", "5", "MODEL.DEVICE", "cpu"]
    args = app.parse_args(words)
    assert args.models == ["a.pth", "b"]
    assert args.opts == ["MODEL.DEVICE", "cpu"]
    assert (args.max_upload, args.host, args.token) == (5, "127.0.0.1", "")

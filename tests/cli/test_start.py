"""Every program answers ``--help`` and a mistake in its arguments before it imports what it works with."""

import argparse
import json
import resource
import subprocess
import sys

import pytest
from detectron2.engine import default_argument_parser

from d2video.cli.arguments import add_config, command_parser
from d2video.cli.train import argument_parser
from tests.helpers import ROOT

PROGRAMS = sorted(
    str(path.relative_to(ROOT))
    for pattern in (
        "tools/*.py",
        "projects/*/tools/*.py",
        "demo/quick_start.py",
    )
    for path in ROOT.glob(pattern)
    if path.name != "__init__.py"
)
# Runs each program with each list of arguments; prints its exit status, its last line of help or
# error, and which of the slow libraries are imported by then.
RUN_ALL = """
import contextlib, io, json, runpy, sys
programs, given, slow = json.loads(sys.argv[1])
sys.path.insert(0, "")
for program in programs:
    for arguments in given:
        sys.argv = [program, *arguments]
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                runpy.run_path(program, run_name="__main__")
            status = None
        except SystemExit as end:
            status = end.code
        print(json.dumps([program, arguments, status, out.getvalue(), [n for n in slow if n in sys.modules]]))
"""
SLOW = ["torch", "torchvision", "detectron2", "scipy", "skimage", "matplotlib"]
GIVEN = [["--help"], ["--no-such-option"]]


def test_help_and_mistakes_need_no_slow_library():
    command = [sys.executable, "-c", RUN_ALL, json.dumps([PROGRAMS, GIVEN, SLOW])]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(PROGRAMS) * len(GIVEN)
    for program, arguments, status, text, imported in answers:
        assert imported == [], program
        assert status == (0 if arguments == ["--help"] else 2), (program, text)
        assert text.startswith("usage: "), program
    # All of them together: one took 6 s, when it imported everything.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 6


def test_train_net_has_the_options_of_detectron2():
    def options(parser: argparse.ArgumentParser) -> list[dict]:
        keys = ("option_strings", "dest", "nargs", "const", "default", "type", "choices")
        return [{key: getattr(each, key) for key in (*keys, "metavar")} for each in parser._actions]

    ours, theirs = options(argument_parser()), options(default_argument_parser())
    assert [each for each in ours if each["dest"] != "dist_timeout"] == theirs


@pytest.mark.parametrize(
    ("line", "opts"),
    [
        ("--config-file c", []),
        ("--config-file c A -1 B x", ["A", "-1", "B", "x"]),
        ("A -1 --config-file c", ["A", "-1"]),
        ("--config-file c --opts A -1", ["A", "-1"]),
        ("--config-file c --names n m --opts A 1 --count 3", ["A", "1"]),
    ],
)
def test_config_keys_with_and_without_opts(line, opts):
    parser = command_parser("")
    parser.add_argument("--names", nargs="+")
    parser.add_argument("--count", type=int)
    add_config(parser)
    args = parser.parse_args(line.split())
    assert (args.config_file, args.opts) == ("c", opts)

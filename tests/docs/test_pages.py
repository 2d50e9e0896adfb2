"""Every block of code in the documentation is run, page by page, in a folder of generated data."""

import contextlib
import fcntl
import io
import json
import os
import re
import runpy
import shutil
import traceback
from pathlib import Path

import pytest
import yaml

from d2video.cli import main
from d2video.deploy.__main__ import main as deploy
from tests.docs import world
from tests.docs.blocks import LANGUAGES, BadFence, Block, blocks_of, commands_of
from tests.helpers import ROOT
from tests.helpers.fresh_process import call_fresh

# Without those that a build of the site has written from others.
WRITTEN = set(runpy.run_path(str(ROOT / "docs" / "site_pages.py"))["copied"]().values())
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "projects/*/README.md")
    for path in ROOT.glob(pattern)
    if path.relative_to(ROOT) not in WRITTEN
)
RUN = ("bash", "python")
MOST_UNRUN = 40  # blocks of all pages that say why they are not run


class Failure(Exception):
    """A block that fails."""


def run_page(page: str, folder: str, weights: str) -> None:
    """Run a page's blocks in a folder, in order.

    Raises:
        Failure: with the page, the line of the block, and what it said.
    """
    os.chdir(folder)
    os.environ["DETECTRON2_DATASETS"] = str(Path(folder, "datasets"))
    world.stand_in(Path(weights))
    names: dict = {"__name__": "__main__"}
    for block in blocks_of(ROOT / page):
        if block.language not in RUN or block.reason:
            continue
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                if block.language == "python":
                    exec(compile(block.code, f"{page}:{block.line}", "exec"), names)
                else:
                    for words in commands_of(block):
                        said.write(f"$ {' '.join(words)}\n")
                        run_command(words)
        except (Exception, SystemExit) as error:
            shown = "".join(traceback.format_exception(error)[-3:])
            raise Failure(f"{page}:{block.line}: {said.getvalue()[-1500:]}\n{shown}") from None


def run_command(words: list[str]) -> None:
    """A command of d2video, in this one process; ``pip install`` is only compared with setup.py."""
    match words:
        case ["pip", "install", what]:
            extra = re.fullmatch(r"\.(?:\[(\w+)\])?", what)
            assert extra, f"pip install {what}"
            assert not extra[1] or f'"{extra[1]}": [' in (ROOT / "setup.py").read_text(), what
        case ["d2video", "install-detectron2"]:
            pass
        case ["python", "-m", "d2video.deploy", *arguments]:
            deploy(arguments)
        case ["d2video", "make-shapes", *arguments]:
            main(["make-shapes", *(re.sub(r"^(\w+)=\d+$", r"\1=3", each) for each in arguments)])
        case ["d2video", *arguments]:
            if "--num-gpus" in arguments:
                place = arguments.index("--num-gpus")
                assert int(arguments[place + 1]) > 0, arguments[place + 1]
                del arguments[place : place + 2]
            try:
                main(arguments)
            except SystemExit as stop:
                if stop.code not in (None, 0):
                    raise
        case _:
            raise AssertionError(f"{words[0]}: not a program that pages may run")


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """The world, made once a session: the workers of pytest-xdist share it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, complete = base / "world", base / "world_complete"
    with (base / "world.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            call_fresh(build_in, str(folder))
            complete.touch()
    return folder


def build_in(folder: str) -> None:
    os.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        world.build(Path(folder))


def test_there_are_pages():
    assert {"README.md", "docs/start/predict.md", "projects/VisTR/README.md"} <= {*PAGES}


@pytest.mark.parametrize("page", PAGES)
def test_fences(page):
    """Each says its language, and what is data can be read."""
    for block in blocks_of(ROOT / page):
        place = f"{page}:{block.line}"
        assert block.language in LANGUAGES, f"{place}: tag the fence with one of {LANGUAGES}"
        if block.language == "yaml":
            yaml.safe_load(block.code)
        if block.language == "json":
            json.loads(block.code)


RUNNABLE = [page for page in PAGES if any(each.language in RUN for each in blocks_of(ROOT / page))]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE)
def test_blocks_run(page, made, tmp_path):
    folder = tmp_path / "page"
    shutil.copytree(made, folder, ignore=shutil.ignore_patterns("weights"))
    call_fresh(run_page, page, str(folder), str(made / "weights"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```bash\nd2video models\n\nd2video predict nothing.mp4\n```\n", "nothing.mp4"),
        ("```bash\nd2video predict --no-such-option\n```\n", "no-such-option"),
        ("```bash\nrm -r folder\n```\n", "rm: not a program"),
        ("```bash\nd2video train VisTR/vistr_R50_ytvis2021 SOLVER.MAX_ITER many\n```\n", "'many'"),
        ("```python\na = 1\n```\nand\n```python\nassert a == 2\n```\n", "page.md:6"),
    ],
)
def test_a_block_that_fails(text, message, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(Failure, match=re.escape(message)):
        call_fresh(run_page, str(page), str(tmp_path), str(tmp_path))


def test_blocks_that_are_not_run(tmp_path):
    page = tmp_path / "page.md"
    fence = "```bash\n{}\n```\n"
    unrun = "<!-- not run: {} -->\n" + fence
    page.write_text(
        unrun.format("a", "one")
        + "```{note}\ntext\n```\n"
        + fence.format("two")
        + unrun.format("b", "3")
    )
    assert blocks_of(page) == [
        Block("bash", "one\n", 3, "a"),
        Block("bash", "two\n", 9),
        Block("bash", "3\n", 13, "b"),
    ]


def test_commands():
    block = Block("bash", "a \\\n b # c\n\nd 'e f'\n", 1)
    assert commands_of(block) == [["a", "b"], ["d", "e f"]]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("```bash\na\n", 1),
        ("<!-- not run: -->\n```bash\n```\n", 1),
        ("<!-- not run -->\n```bash\n```\n", 1),
        ("<!-- not run: a\nb -->\n```bash\n```\n", 1),
        ("<!-- not run: a -->\n\n```bash\n```\n", 2),
        ("<!-- not run: a -->\n```text\n```\n", 2),
        ("text\n<!-- not run: a -->\n", 2),
    ],
)
def test_fences_that_cannot_be_read(text, line, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(BadFence, match=rf"page.md:{line}: "):
        blocks_of(page)


def test_few_blocks_are_not_run():
    unrun = [
        f"{page}:{block.line}: {block.reason}"
        for page in PAGES
        for block in blocks_of(ROOT / page)
        if block.reason
    ]
    print("\n".join(unrun))
    assert len(unrun) <= MOST_UNRUN, "run some of them, or raise MOST_UNRUN"

"""The wheel, installed into an empty folder, predicts and trains from another one."""

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import d2video
from d2video.synthetic import write_ytvis_shapes
from tests.helpers import ROOT
from tests.helpers.fresh_process import run_fresh
from tests.projects.VisTR.tiny import SMALL

pytestmark = pytest.mark.slow

SOURCES = (
    "setup.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "THIRD_PARTY_NOTICES.md",
    "d2video",
    "projects",
    "configs",
)
CONFIG = "VisTR/vistr_tiny_shapes.yaml"
# Runs `d2video ...` with the installed copy, which tests otherwise never see, in a folder.
RUN = """
import os, sys
installed, root, folder = sys.argv[1:4]
sys.path = [installed, *(path for path in sys.path if path not in ("", root))]
os.chdir(folder)
import d2video
assert d2video.__file__.startswith(installed), d2video.__file__
from d2video.cli import main
main(sys.argv[4:])
"""


def pip(*words) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, *quiet], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built in a copy of the sources, which gets files of its own by that."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, folder / name)
    built = tmp_path_factory.mktemp("wheel")
    pip("wheel", folder, "--no-build-isolation", "--wheel-dir", built)
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    pip("install", wheel, "--target", folder)
    return folder


@pytest.fixture(scope="module")
def trained(installed, tmp_path_factory) -> Path:
    """A folder with a data set of one video, and the output of a training of one step."""
    folder = tmp_path_factory.mktemp("elsewhere")
    write_ytvis_shapes(folder / "datasets/shapes", {"train": 1, "val": 1}, progress=False)
    options = ["SOLVER.IMS_PER_BATCH", 1, "SOLVER.MAX_ITER", 1, "DATASETS.TEST", "()"]
    said = run(installed, folder, "train", CONFIG, *SMALL, *options, "OUTPUT_DIR", "run")
    assert "Starting training from iteration 0" in said
    return folder


def run(installed, folder, *words) -> str:
    environment = {"DETECTRON2_DATASETS": str(folder / "datasets")}
    done = run_fresh(
        "-c", RUN, installed, ROOT, folder, *words, environment=environment, imported=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_it_holds_all_of_the_package_and_nothing_else(wheel):
    expected = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("**/*.py", "**/*.j2", "py.typed")
        for path in ROOT.glob(f"d2video/{pattern}")
    }
    expected |= {f"d2video/{p.relative_to(ROOT)}" for p in ROOT.glob("configs/**/*.yaml")}
    for package in ROOT.glob("projects/*/*/__init__.py"):
        expected |= {
            f"d2video/projects/{path.relative_to(package.parents[1])}"
            for path in package.parent.glob("**/*.py")
        }
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected


def test_it_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        texts = {Path(name).name: archive.read(name) for name in archive.namelist()}
    about = message_from_string(texts["METADATA"].decode())
    assert (about["Name"], about["Version"]) == ("d2video", d2video.__version__)
    assert about["Description-Content-Type"] == "text/markdown"
    assert about.get_payload().startswith("# d2video")
    assert {*about.get_all("Provides-Extra")} >= {"dev", "timm", "zoo"}
    assert "Typing :: Typed" in about.get_all("Classifier")
    assert b"Apache License" in texts["LICENSE"]
    scripts = configparser.ConfigParser()
    scripts.read_string(texts["entry_points.txt"].decode())
    assert dict(scripts["console_scripts"]) == {"d2video": "d2video.cli:main"}


@pytest.mark.parametrize("words", [["bin/d2video"], ["-m", "d2video"]])
def test_the_command_is_installed(installed, tmp_path, words):
    command = [sys.executable, *words] if words[0] == "-m" else [installed / words[0]]
    done = subprocess.run(
        [*command, "--version"],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == (f"d2video {d2video.__version__}\n", "")


def test_it_trains_and_predicts_from_another_folder(installed, trained):
    (frames,) = (trained / "datasets/shapes/val/JPEGImages").iterdir()
    run(installed, trained, "predict", frames, "--model", "run/model_final.pth")
    for suffix in ("mp4", "json"):
        assert (trained / f"{frames.name}_annotated.{suffix}").stat().st_size > 0


def test_detectron2s_licence_is_in_it(installed):
    code = "from d2video.cli.install_detectron2 import licence; print(licence().decode())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == (ROOT / "LICENSE").read_text().strip()

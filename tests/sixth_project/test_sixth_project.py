"""The system of docs/extend/sixth_system.md, built from the page outside of this repository: nothing here
knows its name.
"""

import json
import re

import pytest

from tests.helpers import ROOT
from tests.helpers.fresh_process import run_fresh

PAGE = ROOT / "docs" / "extend" / "sixth_system.md"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A tree of the files on the page, and a function that runs programs which see it."""
    tree = tmp_path_factory.mktemp("toy") / "tree"
    blocks = r"^```{code-block} \w+\n:caption: (\S+)\n\n(.*?)^```$"
    for name, content in re.findall(blocks, PAGE.read_text(), re.MULTILINE | re.DOTALL):
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tree / "tests" / "projects" / "Toy" / "__init__.py").touch()
    environment = {
        "D2VIDEO_PROJECTS": str(tree / "projects"),
        "DETECTRON2_DATASETS": str(tree / "output" / "datasets"),
    }

    def run(*words):
        done = run_fresh(*words, environment=environment)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    return tree, run


@pytest.fixture(scope="module")
def shown(toy):
    """The demo's output folder, and what it said."""
    tree, run = toy
    output = tree / "output"
    said = run("-m", "demo.quick_start", "--project", "Toy", "--output", output)
    return output, said


def test_it_is_shown_by_the_demo(toy, shown):
    output, said = shown
    assert "classification top1 100.0" in said
    html = (output / "index.html").read_text()
    for text in ("Toy on generated videos", "Toy tells colours apart.", "green", "held out"):
        assert text in html
    assert len(list((output / "Toy" / "clips").glob("*.mp4"))) == 2
    _, run = toy
    assert "DETR, IPT, TrackFormer, VTN, VisTR, Toy" in " ".join(
        run("-m", "demo.quick_start", "--help").split()
    )


def test_it_is_evaluated_and_predicts(toy, shown):
    tree, run = toy
    output, _ = shown
    config = ("--config-file", tree / "configs" / "Toy" / "toy.yaml")
    weights = ("MODEL.WEIGHTS", output / "Toy" / "model_final.pth")
    more = ("OUTPUT_DIR", tree / "evaluated")
    run("tools/train_net.py", *config, "--eval-only", *weights, *more)
    assert (tree / "evaluated" / "inference" / "toy_val" / "predictions.json").is_file()
    clip = next((output / "datasets" / "toy" / "val" / "green").iterdir())
    results = tree / "clip.json"
    files = ("--input", clip, "--output", tree / "clip.mp4", "--results", results)
    run("tools/demo.py", *config, *files, "--opts", *weights)
    assert (tree / "clip.mp4").is_file()
    found = json.loads(results.read_text())
    assert found["categories"][found["classes"][0]["category_id"]] == "green"


@pytest.mark.slow
def test_tests_of_every_system_run_it(toy):
    """Its training is resumed as it was, and its config is fuzzed."""
    _, run = toy
    resumed = run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/engine/test_resume.py"),
        *("-k", "test_every_system and Toy and 1"),
    )
    assert "1 passed" in resumed
    found = run(
        "-c",
        "from tests.helpers.systems import config_files; print(*config_files())",
    )
    assert "configs/Toy/toy.yaml" in found
    run("-m", "tests.fuzz", "--target", "model", "--inputs", "20")


def test_an_installed_project_is_found_by_its_entry_point(tmp_path):
    (tmp_path / "another.py").write_text("print('registered')\n")
    metadata = tmp_path / "another-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[d2video.projects]\nanother = another\n")
    program = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
    program += "from d2video.projects import register_all\nprint(register_all())"
    done = run_fresh("-c", program, imported=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "registered" in done.stdout
    assert "'another'" in done.stdout.splitlines()[-1]

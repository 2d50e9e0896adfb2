"""Learning curves of several seeds."""

import json

import pytest

from benchmarks.learning import main, read_curves
from d2video.report.results import read_metrics
from d2video.utils.errors import UserError
from tests.helpers.fresh_process import run_fresh
from tests.projects.VisTR.tiny import SMALL


def write_run(folder, values, seconds):
    folder.mkdir(parents=True)
    lines = []
    for step, (value, spent) in enumerate(zip(values, seconds, strict=True), 1):
        lines.append({"iteration": 20 * step, "cpu_seconds": spent, "segm/AP50": value})
    (folder / "metrics.json").write_text("\n".join(map(json.dumps, lines)))


def test_compare(tmp_path, capsys):
    write_run(tmp_path / "now/seed1", [10.0, 40.0], [5.0, 10.0])
    write_run(tmp_path / "now/seed2", [20.0, 60.0], [6.0, 12.0])
    write_run(tmp_path / "before/seed1", [1.0, 2.0], [4.0, 8.0])
    picture = tmp_path / "new" / "curves.svg"
    pairs = [f"{name}={tmp_path / name}" for name in ("before", "now")]
    main(["compare", "segm/AP50", str(picture), *pairs])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert rows == [
        "| before | 1.0, 2.0 | 2.0 | 40 | 8 |",
        "| now | 15.0, 50.0 | 50.0 (40.0 to 60.0) | 40 | 11 |",
    ]
    assert "<svg" in picture.read_text()
    with pytest.raises(SystemExit):
        main(["compare", "segm/AP50", str(picture), *pairs, pairs[0]])
    assert "two trainings have the same title" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "a/b", "x.png", "nowhere"], "'nowhere' has no '='"),
        (["compare", "a/b", "x.png", "now=nowhere"], "nowhere holds no seed"),
        (["compare", "a/b", "x.txt", "now=nowhere"], "x.txt: name a .png or .svg file"),
        (["train", "--difficulty", "hard", "IPT", "out"], "leave out --difficulty"),
        (["train", "Nix", "out"], "no demo for 'Nix'"),
        (["train", "VisTR", "out", "SOLVER.MAXITER", "3"], "SOLVER.MAXITER"),
    ],
)
def test_mistakes(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETECTRON2_DATASETS", "")  # which training sets
    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_trainings_that_cannot_be_compared(tmp_path):
    write_run(tmp_path / "now/seed1", [10.0, 40.0], [5.0, 10.0])
    with pytest.raises(UserError, match="has no 'segm/AP': it has cpu_seconds, segm/AP50"):
        read_curves(tmp_path / "now", "segm/AP")
    write_run(tmp_path / "now/seed2", [20.0], [6.0])  # not at its end
    with pytest.raises(UserError, match="evaluated at different steps"):
        read_curves(tmp_path / "now", "segm/AP50")
    (tmp_path / "plain/seed1").mkdir(parents=True)
    (tmp_path / "plain/seed1/metrics.json").write_text(
        json.dumps({"iteration": 20, "segm/AP50": 10.0})
    )
    with pytest.raises(UserError, match="has no 'cpu_seconds'"):
        read_curves(tmp_path / "plain", "segm/AP50")


SHRUNK = """
import sys
from dataclasses import replace
sys.path.insert(0, ".")
from benchmarks import learning
load = learning.load_recipe
learning.load_recipe = lambda name: replace(load(name), splits={"train": 4, "val": 2})
learning.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_training_is_timed_and_evaluated_on_the_way(tmp_path):
    """On harder data: more objects than the demo's model has slots for."""
    words = ["train", "--data", tmp_path, "--difficulty", "hard", "--seed", 2, "--evaluations", 2]
    options = ["SOLVER.MAX_ITER", 4, *SMALL, "MODEL.VISTR.NUM_SLOTS", 6]
    # It sets DETECTRON2_DATASETS by itself.
    done = run_fresh("-c", SHRUNK, *words, "VisTR", tmp_path, *options, imported=False)
    assert done.returncode == 0, done.stderr[-2000:]
    metrics = read_metrics(tmp_path / "seed2" / "metrics.json")
    assert [step for step, _ in metrics["segm/AP50"]] == [1, 4]  # the last one after all steps
    seconds = [spent for _, spent in metrics["cpu_seconds"]]
    assert 0 < seconds[-1] < 60
    labels = json.loads((tmp_path / "hard/shapes/val.json").read_text())
    assert all(video["length"] == 10 for video in labels["videos"])

"""Sweeps: what is run and what is not, after failures and stops, too, and the table."""

import csv
import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from d2video.cli import sweep as command
from d2video.cli.train import parse_args as train_args
from d2video.config import load_cfg
from d2video.engine.sweep import Task, locked, read_sweep
from d2video.engine.sweep_table import markdown
from d2video.projects import register_all
from d2video.utils.errors import UserError
from tests.helpers import ROOT

register_all()

CONTENT = {
    "config": "DETR/detr_tiny_shapes.yaml",
    "metrics": ["bbox/AP50", "bbox/AP"],
    "seeds": [1, 2],
    "keys": {"SOLVER": {"MAX_ITER": 4, "BASE_LR": "1e-3"}, "MODEL.DETR.HIDDEN_DIM": 32},
    "rows": [
        {"name": "one", "keys": {"MODEL.DETR.DEC_LAYERS": 1}},
        {"name": "two | ü", "keys": {"MODEL.DETR.DEC_LAYERS": 2, "SOLVER.BASE_LR": 0.002}},
    ],
}
TRAINED = "folder/two_ü/seed1"

# In place of `d2video train`: notes its words, and scores 100 times the layers plus the seed.
TRAINING = """
import fcntl, json, os, signal, sys, time
words = sys.argv[1:]
of = dict(zip(words[-2::-2], words[-1::-2]))
folder, layers, seed = of["OUTPUT_DIR"], int(of["MODEL.DETR.DEC_LAYERS"]), int(of["SEED"])
with open(f"{folder}/runs", "a") as file:
    file.write("resumed\\n" if "--resume" in words else "begun\\n")
accident = os.path.join(os.path.dirname(os.path.dirname(folder)), f"accident{layers}")
if os.path.exists(accident):
    if open(accident).read() == "stop":
        def stop(number, frame):
            open(f"{folder}/last_checkpoint", "w").close()
            sys.exit(128 + number)
        signal.signal(signal.SIGTERM, stop)
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(60)
    print("some output\\nerror: a mistake\\nand more")
    sys.exit(1)
with open(f"{folder}/metrics.json", "w") as file:
    for iteration, value in ((1, 0.0), (3, 100.0 * layers + seed)):
        print(json.dumps({"iteration": iteration, "bbox/AP50": value, "bbox/AP": 0.1}), file=file)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Write a sweep file of CONTENT and changes, and run the command on it."""
    real = Task.command

    def fake(task: Task, num_gpus: int) -> list[str]:
        return [sys.executable, "-S", "-c", TRAINING, *real(task, num_gpus)[3:]]

    monkeypatch.setattr(Task, "command", fake)
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()

    def run(*words, **changes):
        Path("a.yaml").write_text(yaml.safe_dump(CONTENT | changes))
        command.main(["a.yaml", "--output", "folder", *map(str, words)])

    return run


def runs(row: str) -> list[list[str]]:
    """Of each seed, how it was begun each time."""
    folders = sorted(Path("folder", row).glob("seed*"))
    return [path.read_text().split() for f in folders if (path := f / "runs").exists()]


def test_all_rows_and_the_table(run):
    run()
    assert Path("folder/table.md").read_text().splitlines() == [
        "| row | bbox/AP50 | bbox/AP | seeds |",
        "| --- | --- | --- | --- |",
        "| one | 101.5 (101.0 to 102.0) | 0.100 (0.100 to 0.100) | 2 |",
        "| two \\| ü | 201.5 (201.0 to 202.0) | 0.100 (0.100 to 0.100) | 2 |",
    ]
    table = json.loads(Path("folder/table.json").read_text())
    second = table["rows"][1]
    assert second["keys"]["MODEL.DETR.DEC_LAYERS"] == 2
    assert second["bbox/AP50"] == {
        **{"mean": 201.5, "deviation": pytest.approx(0.5**0.5), "lowest": 201.0, "highest": 202.0},
        "by_seed": {"1": 201.0, "2": 202.0},
    }
    with open("folder/table.csv", newline="") as file:
        assert [*csv.reader(file)][1:3] == [
            ["one", "1", "101.0", "0.1"],
            ["one", "2", "102.0", "0.1"],
        ]


def test_a_metric_that_is_nan_everywhere():
    """JSON has None for NaN."""
    table = markdown({"a": {1: {"x": None}}, "b": {}}, ["x"], 1)
    assert table.splitlines()[2:] == ["| a | – | 1 |", "| b | – | 0 of 1 |"]


def test_what_is_finished_is_not_run_again(run, capsys):
    run("--row", "one")
    assert "| two \\| ü | – | – | 0 of 2 |" in Path("folder/table.md").read_text()
    run()
    assert runs("one") == runs("two_ü") == [["begun"], ["begun"]]
    Path("folder/table.md").unlink()
    run("--table", metrics=["bbox/AP"])
    assert runs("one") == [["begun"], ["begun"]]
    assert Path("folder/table.md").read_text().startswith("| row | bbox/AP | seeds |")
    capsys.readouterr()
    run("--list", seeds=[1, 3])
    numbered = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert numbered[1:3] == ["2 two | ü, seed 1 (finished)", "3 one, seed 3"]


def test_a_failure_is_named_and_loses_no_other(run, capsys):
    Path("folder/accident1").touch()
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 1
    errors = capsys.readouterr().err.splitlines()
    assert [line.partition(": a mistake (see")[0] for line in errors] == [
        f"error: one, seed {seed} failed with status 1" for seed in (1, 2)
    ]
    assert "| one | – | – | 0 of 2 |\n| two \\| ü | 201.5" in Path("folder/table.md").read_text()
    Path("folder/accident1").unlink()
    run()
    assert runs("one") == [["begun", "begun"]] * 2
    assert runs("two_ü") == [["begun"]] * 2


def test_a_stopped_training_goes_on(run):
    """The signal comes to the sweep, which hands it on."""
    Path("folder/accident2").write_text("stop")
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 143
    assert runs("one") == runs("two_ü") == [["begun"]]  # and no other after it
    Path("folder/accident2").unlink()
    run()
    assert runs("two_ü") == [["begun", "resumed"], ["begun"]]
    assert runs("one") == [["begun"], ["begun"]]


def test_one_task_of_an_array_job(run, monkeypatch):
    run("--task", 3)
    assert (runs("one"), runs("two_ü")) == ([["begun"]], [])
    assert Path("folder/one/seed2/results.json").is_file()
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    run()
    assert runs("two_ü") == [["begun"]]
    run("--row", "one")
    assert runs("one") == [["begun"], ["begun"]]
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 2


def test_two_processes_do_not_train_the_same(run, capsys):
    with locked(Path("folder/one/seed1/.lock"), wait=False) as lock:
        assert lock is not None
        run("--task", 1)  # and nothing for a table yet
        assert not Path("folder/table.md").exists()
        run()
    assert "is run by another process" in capsys.readouterr().out
    assert runs("one") == [["begun"]]


def test_the_training_holds_the_lock(run, monkeypatch):
    """So that another sweep waits for it even if this one is killed."""
    code = "import os, sys; sys.exit(not any('.lock' in os.readlink(f'/proc/self/fd/{f}')"
    code += " for f in os.listdir('/proc/self/fd') if int(f) > 2 and os.path.exists(f'/proc/self/fd/{f}')))"
    monkeypatch.setattr(Task, "command", lambda task, _: [sys.executable, "-S", "-c", code])
    with pytest.raises(UserError, match="metrics.json does not exist"):  # it has ended well
        run_raw("--task", "1")


def run_raw(*words: str) -> None:
    Path("a.yaml").write_text(yaml.safe_dump(CONTENT))
    command.main.__wrapped__(["a.yaml", "--output", "folder", *words])


@pytest.mark.parametrize(
    ("words", "changes", "said"),
    [
        ([], {"keys": {"SOLVER.MAX_ITER": 4}}, "MODEL.DETR.HIDDEN_DIM 32, and now it is 96"),
        (["--table"], {"config": "DETR/detr_panoptic_tiny_shapes.yaml"}, "with DATASETS.TEST"),
        (
            ["--row", "two | ü"],
            {"rows": [{"name": "two | ü", "keys": {"MODEL.DETR.DEC_LAYERS": 3}}]},
            "MODEL.DETR.DEC_LAYERS 2, and now it is 3",
        ),
    ],
)
def test_a_row_that_has_changed_since(run, words, changes, said, capsys):
    run("--task", 2)
    before = {path: path.stat().st_mtime_ns for path in Path("folder").rglob("*.json")}
    with pytest.raises(SystemExit):
        run(*words, **changes)
    (error,) = capsys.readouterr().err.splitlines()
    assert f"row 'two | ü', seed 1: {TRAINED} was trained" in error
    assert said in error
    assert before == {path: path.stat().st_mtime_ns for path in Path("folder").rglob("*.json")}


def test_a_metric_that_no_run_has(run, capsys):
    with pytest.raises(SystemExit):
        run(metrics=["bbox/AP5"])
    (error,) = capsys.readouterr().err.splitlines()
    assert "no training of the sweep has the metric 'bbox/AP5': did you mean bbox/AP50" in error
    assert runs("one") == [["begun"]]  # it is said after the first training
    run("--table")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"row": []}, "unknown entry 'row': did you mean rows?"),
        ({"rows": []}, "rows is empty"),
        ({"rows": [{"name": "a", "key": {}}]}, "row 1: unknown entry 'key': did you mean keys?"),
        ({"rows": [{"name": "a b"}, {"name": "a/b"}]}, "row 'a/b' is named like row 'a b'"),
        ({"rows": [{"name": "?"}]}, "row '?' has no letters"),
        ({"rows": [{"keys": {}}]}, "row 1: name is missing"),
        ({"rows": ["a"]}, "row 1 must hold name, config, keys"),
        ({"rows": [{"name": "a", "config": "DETR/nix"}]}, "row 'a': config DETR/nix: no such file"),
        ({"rows": [{"name": "a", "keys": {"MODEL.NIX": 1}}]}, "row 'a': there is no key MODEL.NIX"),
        ({"rows": [{"name": "a", "keys": {"SEED": 1}}]}, "row 'a': SEED is set by the sweep"),
        ({"keys": {"OUTPUT_DIR": "x"}}, "OUTPUT_DIR is set by the sweep"),
        ({"keys": {"SOLVER.MAX_ITER": "x"}}, "SOLVER.MAX_ITER is 'x', str: give int"),
        ({"seeds": [1, 1]}, "seeds is [1, 1]: give different numbers"),
        ({"seeds": []}, "seeds is empty"),
        ({"metrics": "segm/AP"}, "metrics is 'segm/AP': give a list"),
        ({"metrics": [1]}, "metrics is [1]: give names"),
        ({"config": 3}, "config is 3: give text"),
    ],
)  # fmt: skip
def test_mistakes_in_the_file(run, changes, said, capsys):
    with pytest.raises(SystemExit):
        run(**changes)
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: sweep a.yaml")
    assert said in error
    assert not [*Path("folder").iterdir()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--task", 5], "--task 5: the sweep has tasks 1 to 4"),
        (["--row", "tow"], "no row 'tow': it has one, two | ü"),
        (["--table"], "folder contains no finished training"),
    ],
)
def test_mistakes_in_the_command(run, words, said, capsys):
    with pytest.raises(SystemExit):
        run(*words)
    assert said in capsys.readouterr().err


def test_a_file_that_is_not_there(tmp_path, capsys):
    with pytest.raises(SystemExit):
        command.main([str(tmp_path / "b.yaml")])
    assert "b.yaml: cannot read it (No such file or directory)" in capsys.readouterr().err
    (tmp_path / "b.yaml").write_text("rows: [{name: a}]\nmetrics: [x]\n")
    with pytest.raises(UserError, match="row 'a': no config is given"):
        read_sweep(str(tmp_path / "b.yaml"), tmp_path)


def test_the_training_gets_the_row(tmp_path):
    """A config beside the sweep file; values of every kind; a schedule in another unit."""
    (tmp_path / "c.yaml").write_text(
        "_BASE_: DETR/detr_tiny_shapes.yaml\nSOLVER: {STEPS: [2, 3]}\n"
    )
    augmentations = [["RandomFlip", {"prob": 0.5}]]
    keys = {
        "MODEL.WEIGHTS": "a 'b'.pth",
        "INPUT.AUGMENTATIONS": augmentations,
        "SOLVER.GAMMA": "1e-2",
    }
    rows = [{"name": "a", "config": "c.yaml", "keys": keys | {"SOLVER.MAX_EPOCHS": 3}}]
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(CONTENT | {"rows": rows, "seeds": [7]}))
    (task,) = read_sweep(str(path), tmp_path / "out").tasks
    words = task.command(2)
    assert words[:4] == [sys.executable, "-m", "d2video", "train"]
    args = train_args(words[4:])
    cfg = load_cfg(args.config_file, args.opts)
    assert (args.num_gpus, args.resume) == (2, False)
    assert (cfg.SEED, cfg.MODEL.WEIGHTS, cfg.SOLVER.GAMMA) == (7, "a 'b'.pth", 0.01)
    assert cfg.INPUT.AUGMENTATIONS == [["RandomFlip", {"prob": 0.5}]]
    assert (cfg.SOLVER.MAX_EPOCHS, cfg.SOLVER.BASE_LR, cfg.MODEL.DETR.HIDDEN_DIM) == (3, 0.001, 32)
    assert str(tmp_path / "out/a/seed7") == cfg.OUTPUT_DIR


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs/ablations").glob("*.yaml")), ids=lambda p: p.stem
)
def test_sweeps_of_this_repository(path, tmp_path):
    sweep = read_sweep(str(path), tmp_path)
    different = {json.dumps(task.values | {"SEED": 0}, sort_keys=True) for task in sweep.tasks}
    assert len(different) * 3 == len(sweep.tasks)  # no two rows are the same training
    assert str(path.relative_to(ROOT)) in path.read_text()
    assert os.path.isfile(sweep.tasks[0].config)

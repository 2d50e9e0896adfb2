"""A sweep: rows of config keys, each trained with several seeds (docs/guides/sweeps.md has the file's form).

Below the sweep's folder::

    <row>/seed<n>/    OUTPUT_DIR of a training, and of the sweep:
        values.json       what it was started with: {full key: value} of the config file and the row
        output.txt        what it printed
        results.json      {metric: last value}, written when it has ended
    table.md, table.json, table.csv
"""

import fcntl
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from d2video.checkpoint.run_folder import POINTER
from d2video.config import find_config
from d2video.config.files import flatten, overlay, read_config, read_yaml
from d2video.config.loading import make_cfg
from d2video.config.renamed import current_keys
from d2video.engine.hooks.stop_signal import STOP_SIGNALS
from d2video.engine.launch import signals_handed_on
from d2video.formats.text import read_json
from d2video.report.results import read_metrics
from d2video.utils.errors import UserError
from d2video.utils.files import finite, write_json
from d2video.utils.near_names import did_you_mean

_OF_A_SWEEP = {"config": str, "metrics": list, "seeds": list, "keys": dict, "rows": list}
_OF_A_ROW = {"name": (str, int, float), "config": str, "keys": dict}
_OF_A_RUN = ("SEED", "OUTPUT_DIR")  # a sweep sets them


@dataclass(frozen=True)
class Task:
    """One training.

    Attributes:
        row: its name.
        config: path of the config file.
        keys: {full key: value} over those of the file.
        values: of both, as in ``values.json``.
        folder: see the module.
    """

    row: str
    seed: int
    config: str
    keys: dict[str, Any]
    values: dict[str, Any]
    folder: Path

    def __str__(self) -> str:
        return f"{self.row}, seed {self.seed}"

    def check_unchanged(self) -> None:
        """
        Raises:
            UserError: its folder holds a training with other keys.
        """
        path = self.folder / "values.json"
        if not path.is_file():
            return
        before, now = read_json(str(path)), self.values
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                raise UserError(
                    f"row '{self.row}', seed {self.seed}: {self.folder} was trained with {key} "
                    f"{before.get(key)}, and now it is {now.get(key)}: delete the folder, or give another "
                    "--output"
                )

    def results(self) -> dict[str, float] | None:
        """{metric: value after the last step}; None: it has not ended.

        Raises:
            UserError: see :meth:`check_unchanged`.
        """
        self.check_unchanged()
        path = self.folder / "results.json"
        return read_json(str(path)) if path.is_file() else None

    def command(self, num_gpus: int) -> list[str]:
        """Of a process that trains, or goes on from the last checkpoint."""
        resume = ["--resume"] if (self.folder / POINTER).is_file() else []
        keys = [word for key, value in self.keys.items() for word in (key, repr(value))]
        return [
            *(sys.executable, "-m", "d2video", "train", "--config-file", self.config, *resume),
            *("--num-gpus", str(num_gpus), "--dist-url", "auto"),
            *(*keys, "OUTPUT_DIR", str(self.folder)),
        ]


@dataclass(frozen=True)
class Sweep:
    """
    Attributes:
        folder: of all that is written.
        metrics: the columns of the table.
        tasks: seed by seed, row by row.
    """

    folder: Path
    metrics: tuple[str, ...]
    tasks: tuple[Task, ...]

    def of_row(self, name: str) -> tuple[Task, ...]:
        """
        Raises:
            UserError: no row has this name.
        """
        tasks = tuple(task for task in self.tasks if task.row == name)
        if not tasks:
            names = [*dict.fromkeys(task.row for task in self.tasks)]
            hint = did_you_mean(name, names, f"it has {', '.join(names)}")
            raise UserError(f"the sweep has no row '{name}': {hint}")
        return tasks


def read_sweep(path: str, output: Path) -> Sweep:
    """A sweep file whose keys and configs have been checked.

    Args:
        output: the sweep's folder.

    Raises:
        UserError: the file has a fault, or a row's config.
    """
    content = _checked(read_yaml(path, "sweep"), f"sweep {path}", _OF_A_SWEEP, ("rows", "metrics"))
    seeds = content.get("seeds", [1, 2, 3])
    if not all(type(seed) is int and seed >= 0 for seed in seeds) or len({*seeds}) < len(seeds):
        raise UserError(f"sweep {path}: seeds is {seeds}: give different numbers, 0 or more")
    metrics = content["metrics"]
    for name, entries in (("rows", content["rows"]), ("metrics", metrics), ("seeds", seeds)):
        if not entries:
            raise UserError(f"sweep {path}: {name} is empty: give one or more")
    if not all(isinstance(metric, str) for metric in metrics):
        raise UserError(f"sweep {path}: metrics is {metrics}: give names, such as segm/AP")
    shared = _keys(content, f"sweep {path}")
    tasks: list[Task] = []
    rows: dict[str, str] = {}
    for number, entry in enumerate(content["rows"], 1):
        row = _checked(entry, f"sweep {path}, row {number}", _OF_A_ROW, ("name",))
        name = str(row["name"])
        folder = re.sub(r"[^\w.+-]+", "_", name).strip("._")
        if not folder or folder in rows:
            fault = f"is named like row '{rows[folder]}'" if folder else "has no letters"
            raise UserError(
                f"sweep {path}: row '{name}' {fault}: rename it, folders have these names"
            )
        rows[folder] = name
        source = f"sweep {path}, row '{name}'"
        config = _config_path(row.get("config", content.get("config")), path, source)
        keys = overlay(shared, _keys(row, source))
        values = overlay(read_config(config), keys)
        make_cfg(values, source, [])
        for seed in seeds:
            of_run = {"SEED": seed}
            place = output / folder / f"seed{seed}"
            tasks.append(Task(name, seed, config, keys | of_run, finite(values | of_run), place))
    # First all rows with the first seed, so that they can be compared early.
    tasks.sort(key=lambda task: seeds.index(task.seed))
    return Sweep(output, tuple(metrics), tuple(tasks))


def _checked(
    content: Any, source: str, types: dict[str, Any], needed: tuple[str, ...]
) -> dict[str, Any]:
    """``content``, if it holds these entries, of these types."""
    if not isinstance(content, dict):
        raise UserError(f"{source} must hold {', '.join(types)}")
    for key, value in content.items():
        if key not in types:
            hint = did_you_mean(str(key), types, f"it has {', '.join(types)}")
            raise UserError(f"{source}: unknown entry '{key}': {hint}")
        if not isinstance(value, types[key]) or isinstance(value, bool):
            wanted = "text" if key in ("name", "config") else f"a {types[key].__name__}"
            raise UserError(f"{source}: {key} is {value!r}: give {wanted}")
    if missing := [key for key in needed if key not in content]:
        raise UserError(f"{source}: {missing[0]} is missing")
    return content


def _keys(content: dict[str, Any], source: str) -> dict[str, Any]:
    keys = current_keys(dict(flatten(content.get("keys", {}))), source)
    if found := [key for key in _OF_A_RUN if key in keys]:
        raise UserError(f"{source}: {found[0]} is set by the sweep: remove it (seeds, --output)")
    return keys


def _config_path(name: str | None, sweep: str, source: str) -> str:
    """Of a config that is named by its path, from the sweep's folder or from here, or as one of ours."""
    if name is None:
        raise UserError(f"{source}: no config is given: add 'config: ' to the row or to the sweep")
    beside = Path(sweep).parent / name
    try:
        return str(beside.resolve()) if beside.is_file() else find_config(name)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error


# ---- running ---------------------------------------------------------------------------------------


def run_task(task: Task, num_gpus: int) -> str:
    """Train in a new process, unless it has been done or another process is at it.

    Returns:
        "finished", "has been finished before", "is run by another process", or what failed.

    Raises:
        SystemExit: a signal has stopped the training.
        UserError: see :meth:`Task.check_unchanged`.
    """
    if task.results() is not None:
        return "has been finished before"
    with locked(task.folder / ".lock", wait=False) as lock:
        if lock is None:
            return "is run by another process"
        if task.results() is not None:
            return "has been finished before"
        write_json(task.folder / "values.json", task.values)
        with open(task.folder / "output.txt", "ab") as output:
            start = output.tell()
            # The process keeps the lock should this one be killed.
            process = subprocess.Popen(
                task.command(num_gpus),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                pass_fds=[lock.fileno()],
            )
            with signals_handed_on(lambda: [] if process.poll() is not None else [process.pid]):
                code = process.wait()
        code = 128 - code if code < 0 else code
        if code - 128 in STOP_SIGNALS:
            print(f"{task}: stopped; run the same command to continue", file=sys.stderr)
            raise SystemExit(code)
        if code:
            return _last_words(task.folder / "output.txt", start, code)
        found = read_metrics(task.folder / "metrics.json")
        results = {name: points[-1][1] for name, points in found.items()}
        write_json(task.folder / "results.json", results)
        return "finished"


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[BinaryIO | None]:
    """A lock between processes, also of several machines; None if another has it, without ``wait``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
            return
        yield file


def _last_words(path: Path, start: int, code: int) -> str:
    """Why a process failed, by its output from byte ``start`` on."""
    lines = path.read_bytes()[start:].decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    errors = [line for line in said if line.startswith("error: ")]
    reason = (errors or said or ["it printed nothing"])[-1].removeprefix("error: ")
    if code == 128 + signal.SIGKILL:
        reason = "killed (the system may have run out of memory)"
    return f"failed with status {code}: {reason} (see {path})"

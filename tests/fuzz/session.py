"""Runs of a target: which inputs, and what came of them."""

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.guard import Fault, process_limits, run_one

# By a generator, one mutated input in the folder; what reads it.
MakeInput = Callable[[random.Random], Callable[[], Any]]


@dataclass(frozen=True)
class Target:
    """A reader and inputs for it.

    Attributes:
        name: of the target.
        inputs: how many the tests try.
        prepare: with a folder of its own, what makes inputs.
    """

    name: str
    inputs: int
    prepare: Callable[[Path], MakeInput]


TARGETS: dict[str, Target] = {}


def target(
    name: str, inputs: int
) -> Callable[[Callable[[Path], MakeInput]], Callable[[Path], MakeInput]]:
    """Decorate a ``prepare``."""

    def add(prepare: Callable[[Path], MakeInput]) -> Callable[[Path], MakeInput]:
        TARGETS[name] = Target(name, inputs, prepare)
        return prepare

    return add


@dataclass
class Report:
    """What came of a run.

    Attributes:
        outcomes: "result" and "error" → how many.
        faults: by kind and place the first input of each, its number, and how many there were.
    """

    outcomes: Counter = field(default_factory=Counter)
    faults: dict[tuple[str, str], tuple[int, Fault]] = field(default_factory=dict)
    counts: Counter = field(default_factory=Counter)

    def lines(self, name: str, seed: int) -> list[str]:
        """One fault a paragraph, with the command that repeats it."""
        return [
            f"{kind} at {place}, {self.counts[kind, place]} inputs; repeat the first with\n"
            f"  python -m tests.fuzz --target {name} --seed {seed} --first {number} --inputs 1\n"
            f"{fault.details}"
            for (kind, place), (number, fault) in self.faults.items()
        ]


def run_target(
    chosen: Target, seed: int, numbers: Iterable[int], keep: Path | None = None
) -> Report:
    """Try the inputs with these numbers; each depends on the seed and its number alone.

    Args:
        keep: the folder to work in, which stays; by default a temporary one.
    """
    report = Report()
    folder = Path(tempfile.mkdtemp(prefix="fuzz_")) if keep is None else keep
    try:
        make_input = chosen.prepare(folder)
        with process_limits():
            for number in numbers:
                # Left behind if the process dies.
                (folder / "number").write_text(f"{chosen.name} {seed} {number}\n")
                rng = random.Random(f"{seed} {chosen.name} {number}")
                outcome, fault = run_one(make_input(rng))
                report.outcomes[outcome] += 1
                if fault is not None:
                    key = fault.kind, fault.place
                    report.faults.setdefault(key, (number, fault))
                    report.counts[key] += 1
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    return report

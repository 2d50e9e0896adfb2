"""The fuzzer from the command line, for long runs and to repeat one input.

python -m tests.fuzz                                   every target, as many inputs as the tests
python -m tests.fuzz --times 50 --seed 7               50 times as many, others
python -m tests.fuzz --target ytvis --first 812 --inputs 1 --keep /tmp/x     one, files kept
"""

import argparse
import faulthandler
import logging
import sys
import time
from pathlib import Path

from tests.fuzz import all_targets
from tests.fuzz.guard import SECONDS
from tests.fuzz.session import run_target


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    targets = all_targets()
    parser.add_argument("--target", action="append", choices=sorted(targets))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--inputs", type=int, help="of each target")
    parser.add_argument("--times", type=float, default=1.0)
    parser.add_argument("--keep", type=Path, help="an empty folder to work in")
    args = parser.parse_args()
    logging.disable(logging.ERROR)
    faulty = total = 0
    for name in args.target or targets:
        count = args.inputs if args.inputs is not None else round(targets[name].inputs * args.times)
        # An alarm cannot end a loop in C: this shows where it is and ends the process.
        faulthandler.dump_traceback_later(10 * SECONDS + count, exit=True)
        start = time.perf_counter()
        numbers = range(args.first, args.first + count)
        if args.keep is not None:
            args.keep.mkdir(parents=True, exist_ok=True)
        report = run_target(targets[name], args.seed, numbers, args.keep)
        seconds = time.perf_counter() - start
        outcomes = ", ".join(f"{n} {o}s" for o, n in sorted(report.outcomes.items()))
        print(f"{name}: {count} inputs in {seconds:.1f} s: {outcomes}; {len(report.faults)} faults")
        print(
            "\n".join(report.lines(name, args.seed)), end="\n" if report.faults else "", flush=True
        )
        faulty += len(report.faults)
        total += count
    faulthandler.cancel_dump_traceback_later()
    print(f"{total} inputs, seed {args.seed}: {faulty} faults")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())

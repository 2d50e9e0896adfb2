#!/usr/bin/env python3
"""VTN's temporal encoder beside transformers' Longformer: time and memory by the number of frames.

Both of the size of the official model, with random weights, on one video's features, without
gradients. The times of a length come from one process in which the two take turns; peaks of memory
from a process each. Longformer gets what the official VTN gives it, but for its padding, which is the
least that its window allows.
"""

import argparse
from collections.abc import Sequence

from d2video.cli.arguments import add_json, command_parser, not_negative, positive
from d2video.utils.errors import exit_on_user_error


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    parser.add_argument("--warmup", type=not_negative, default=1)
    parser.add_argument("--repeats", type=positive, default=3)
    add_json(parser)
    return parser.parse_args(argv)


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from d2video.projects.vtn.temporal_benchmark import report

    report(args.warmup, args.repeats, args.json)


if __name__ == "__main__":
    main()

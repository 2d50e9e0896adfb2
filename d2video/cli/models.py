"""List the models: configs, the weights published by their authors, and the addresses of these.

Any command accepts a model's name. Weights are downloaded on first use to the folder $FVCORE_CACHE (default:
~/.torch/iopath_cache). The figures are the authors'; none was measured with this code.

Examples: d2video models
d2video models panoptic
d2video models DETR/detr_panoptic_R50
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2video.cli.arguments import command_parser
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.near_names import did_you_mean

if TYPE_CHECKING:
    from d2video.model_zoo import Entry


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "models")
    parser.add_argument(
        "pattern",
        nargs="?",
        default="",
        help="name of a model, to show all about it; or text or pattern in names, files, tasks or datasets, "
        "such as panoptic, COCO or 'DETR/*R101*'",
    )
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="print everything as JSON, or write it to this file",
    )
    return parser.parse_args(argv)


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from d2video.config.files import config_names
    from d2video.model_zoo import ENTRIES
    from d2video.utils.files import write_json

    pattern = args.pattern.removeprefix("configs/").removesuffix(".yaml")
    entries = [entry for entry in ENTRIES if _matches(entry, pattern)]
    with_weights = {entry.config for entry in ENTRIES}
    names = [name.removesuffix(".yaml") for name in config_names()]
    others = [
        name
        for name in names
        if name not in with_weights and _is_model(name) and _fits(name, pattern)
    ]
    if not entries and not others:
        known = {*names, *(entry.config or entry.file_name for entry in ENTRIES)}
        hint = did_you_mean(pattern, known, "'d2video models' lists all")
        raise UserError(f"no model matches '{args.pattern}': {hint}")
    if args.json:
        content = [_facts(entry) for entry in entries]
        content += [{"system": name.split("/")[0], "config": name} for name in others]
        if args.json == "-":
            print(json.dumps(content, indent=2))
        else:
            write_json(Path(args.json), content)
        return
    exact = [e for e in entries if pattern and pattern in (e.config, e.file_name)]
    for entry in exact:
        _print_all(entry)
    if exact or pattern in others:
        if pattern in others:
            print(f"{pattern}: a config; no weights are published for it")
        return
    if entries:
        _print_table(entries)
    if others:
        print(f"\nwithout published weights ({len(others)}):")
        print("\n".join(f"  {name}" for name in others))


def _is_model(name: str) -> bool:
    """Whether a config builds a model and is not just a part of other configs."""
    folder, _, file = name.rpartition("/")
    return folder != "common" and not file.startswith("Base-")


def _fits(text: str, pattern: str) -> bool:
    return pattern.lower() in text.lower() or fnmatch(text.lower(), pattern.lower())


def _matches(entry: "Entry", pattern: str) -> bool:
    described = (entry.system, entry.config, entry.file_name, entry.task, entry.data)
    return any(_fits(text, pattern) for text in described)


def _state(entry: "Entry") -> str:
    """Describe in a word or two where the file is or comes from."""
    from d2video.fetching import place

    if any(place(address).is_file() for address in entry.addresses):
        return "in the cache"
    kinds = {"gdrive": "Google Drive", "by-hand": "by hand"}
    kind = kinds.get(entry.addresses[0].partition("://")[0], "download")
    return "gone" if " gone " in entry.note else kind


def _print_table(entries: "Sequence[Entry]") -> None:
    from tabulate import tabulate

    rows = [
        [
            entry.config or f"({entry.file_name.rpartition('/')[2]})",
            entry.task,
            entry.metric,
            entry.size,
            _state(entry),
        ]
        for entry in entries
    ]
    header = ["model", "task", "published", "size", "weights"]
    print(tabulate(rows, header, disable_numparse=True, maxcolwidths=[64, 24, 34, None, None]))


def _facts(entry: "Entry") -> dict[str, Any]:
    from d2video.fetching import place

    return asdict(entry) | {
        "class_names": entry.class_names,
        "state": _state(entry),
        "place": str(place(entry.addresses[0])),
    }


def _print_all(entry: "Entry") -> None:
    from d2video.fetching import cached, place

    file = next(filter(None, map(cached, entry.addresses)), None)
    main, *others = entry.addresses
    names = entry.class_names
    facts = {
        "config": f"{entry.config}.yaml" if entry.config else "none builds this network",
        "task": entry.task,
        "trained on": entry.data,
        "classes": f"{len(names)}: {', '.join(names[:8])}{', …' * (len(names) > 8)}"
        if names
        else "",
        "published": entry.metric,
        "file": entry.file_name,
        "address": "none is known" if entry.is_by_hand else main,
        "or": "\n".join(others),
        "page": entry.page,
        "sha256": entry.sha256 + ("…" if len(entry.sha256) < 64 else "") if entry.sha256 else "",
        "size": entry.size,
        "format": entry.format,
        "licence": entry.licence,
        "keys": " ".join(map(str, entry.opts)),
        "note": entry.note,
        "in the cache": str(file) if file else f"no; it belongs at {place(main)}",
    }
    for name, text in facts.items():
        for line in text.splitlines():
            print(f"{name:13} {line}")

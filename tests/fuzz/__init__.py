"""A mutation fuzzer over everything that the library reads; see __main__.py for longer runs."""

import importlib

from tests.fuzz.session import TARGETS, Target


def all_targets() -> dict[str, Target]:
    """By name."""
    # The modules register what they hold.
    for module in ("json", "text", "media", "config", "checkpoint", "check", "labels", "driving"):
        importlib.import_module(f"tests.fuzz.targets_{module}")
    return TARGETS

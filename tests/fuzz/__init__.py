"""A mutation fuzzer over everything that the library reads; see __main__.py for longer runs."""

from tests.fuzz.session import TARGETS, Target


def all_targets() -> dict[str, Target]:
    """By name."""
    # The modules register what they hold.
    from tests.fuzz import targets_json, targets_text

    assert targets_json, targets_text
    return TARGETS

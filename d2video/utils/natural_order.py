"""The order of names by the numbers in them."""

import re


def natural_key(name: str) -> list[str | int]:
    """A key for sorting, by which ``2.jpg`` comes before ``10.jpg``."""
    # The split alternates text and digits, so entries at one position always compare.
    parts = re.split(r"(\d+)", name)
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)]

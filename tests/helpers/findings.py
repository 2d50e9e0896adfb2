"""What readers report, and what they refuse."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from d2video.formats.faults import Doubt, Fault, LeftOut
from d2video.utils.errors import UserError


def reading(
    read: Callable[..., Any], root: Path, **options: Any
) -> tuple[Any, dict[type, list[str]]]:
    """What a reader of labels returns, and the texts of what it reports by kind."""
    found: list[Any] = []
    labels = read(str(root), report=found.append, **options)
    kinds = (Fault, Doubt, LeftOut)
    return labels, {kind: [str(f) for f in found if isinstance(f, kind)] for kind in kinds}


@contextmanager
def one_line(*parts: str, match: str | None = None) -> Iterator[None]:
    """A block that ends in a UserError of one line with these parts, and by a regular expression."""
    with pytest.raises(UserError, match=match) as error:
        yield
    for part in parts:
        assert part in str(error.value)
    assert "\n" not in str(error.value)

"""JSON from strangers."""

import json
from typing import Any


def parse_json(text: str | bytes, **options: Any) -> Any:
    """``json.loads``, for which nesting beyond Python's recursion limit is a fault like others.

    Args:
        text: of the file.
        options: of ``json.loads``.

    Raises:
        ValueError: no JSON (``JSONDecodeError``), no text (``UnicodeDecodeError``), or nested too
            deeply.
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("nested too deeply") from None

"""Name what was found in place of a segmentation, with the remedy.

Exporters write masks in many ways that are nearly right. A message that names what the file holds
is quicker to act on than one that says what it should hold.
"""

from collections.abc import Sequence
from typing import Any

from d2video.formats.text import as_json, json_kind, parse_json

_FORMS = (
    "a segmentation is a list of polygons, [[x0, y0, x1, y1, ...], ...], or an RLE, "
    '{"size": [height, width], "counts": ...}'
)


def describe_misplaced(value: Any) -> str | None:
    """What a value is that is neither None, an empty list, an RLE nor a list of polygons.

    The numbers of polygons and the content of an RLE are not looked at.

    Args:
        value: as read from JSON.

    Returns:
        what it is and what to write instead; None if it has the form of a segmentation.
    """
    if value is None:
        return None
    if isinstance(value, dict):
        return None if _is_rle(value) else f"{_object(value)}; {_FORMS}"
    if isinstance(value, str):
        return _describe_text(value)
    if not isinstance(value, list):
        return f"{_plain(value)}; {_FORMS}"
    return _describe_list(value)


def _describe_list(value: list[Any]) -> str | None:
    kinds = {type(each) for each in value}
    if kinds <= {list}:
        return _describe_polygons(value)
    if dict in kinds:
        codes = [each for each in value if isinstance(each, dict)]
        if not all(map(_is_rle, codes)):
            return f"a list with {_object(codes[0])}; {_FORMS}"
        if len(value) == 1:
            return "a run-length code (RLE) within a list: write it without the brackets"
        if len(codes) == len(value):
            return f"a list of {len(value)} run-length codes (RLE): merge them into one"
        return "a list that holds a run-length code (RLE) beside other things: write one RLE"
    if kinds <= {int, float}:
        return (
            "a list of numbers, as one polygon is: write it as a list of polygons, "
            "[[x0, y0, x1, y1, ...]]"
        )
    if kinds == {str}:
        return f"a list of texts ({as_json(value[0])}, ...); {_FORMS}"
    other = next(each for each in value if type(each) is not list)
    return f"a list that holds {_plain(other)}; {_FORMS}"


def _describe_polygons(polygons: Sequence[list[Any]]) -> str | None:
    """What lists within a list are, if they are not flat."""
    flat = "write each polygon as one flat list, [[x0, y0, x1, y1, ...], ...]"
    if len(polygons) > 1 and all(map(_is_point, polygons)):
        return f"a list of points [x, y]: {flat}"
    for polygon in polygons:
        kinds = {type(each) for each in polygon}
        if dict in kinds:
            inner = next(each for each in polygon if isinstance(each, dict))
            if _is_rle(inner):
                return "a run-length code (RLE) within two lists: write it without the brackets"
            return f"polygons made of objects ({as_json(inner)}): {flat}"
        if list in kinds:
            if all(map(_is_point, polygon)):
                return f"polygons made of points [x, y]: {flat}"
            return "polygons nested too deeply: take away a pair of brackets, " + flat
    return None


def _describe_text(value: str) -> str:
    try:
        held = parse_json(value)
    except ValueError:
        return f"a text, {as_json(value)}; {_FORMS}"
    if isinstance(held, list | dict):
        return "a text that holds JSON: write the JSON itself, without the quotation marks"
    return f"a text, {as_json(value)}; {_FORMS}"


def _is_rle(value: dict[Any, Any]) -> bool:
    return "size" in value and "counts" in value


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and {*map(type, value)} <= {int, float}


def _object(value: dict[Any, Any]) -> str:
    missing = [key for key in ("size", "counts") if key not in value]
    return f"an object without {' and '.join(missing)} ({as_json(value)})"


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return as_json(value)
    if isinstance(value, str):
        return f"a text, {as_json(value)}"
    if isinstance(value, int | float):
        return f"the number {as_json(value)}"
    return json_kind(value)

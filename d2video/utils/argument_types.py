"""Whether a value that a user wrote is of the type that a function's parameter has."""

import types
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin


def fits(value: Any, annotation: Any) -> bool:
    """Whether a literal (numbers, text, lists, dicts) may be given where ``annotation`` stands.

    A bool is no number, a text is no sequence, a list may stand for a tuple and an int for a float.
    What has no annotation, or one of another kind than these, takes everything.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in inner)
    if origin is tuple and ... not in inner:
        is_list = isinstance(value, list | tuple) and len(value) == len(inner)
        return is_list and all(map(fits, value, inner))
    if origin in (Sequence, list, tuple):
        return isinstance(value, list | tuple) and all(fits(each, inner[0]) for each in value)
    if annotation in (None, types.NoneType):
        return value is None
    if annotation in (int, float):
        allowed = (int,) if annotation is int else (int, float)
        return isinstance(value, allowed) and not isinstance(value, bool)
    if annotation in (bool, str):
        return isinstance(value, annotation)
    return origin is not dict or isinstance(value, dict)

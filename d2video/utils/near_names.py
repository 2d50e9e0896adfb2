"""The names that may be meant by one that does not exist."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches

from d2video.utils.errors import UserError


def near_names(wanted: str, names: Iterable[str]) -> list[str]:
    """Up to three of ``names`` that are spelled alike, the nearest first; upper and lower case are the same,
    and folders such as "DETR/" may be missing."""
    known, close = list(names), []
    for start, cutoff in ((0, 0.75), (-1, 0.6)):
        by_part = {"/".join(name.lower().split("/")[start:]): name for name in known}
        part = "/".join(wanted.lower().split("/")[start:])
        close += [by_part[each] for each in get_close_matches(part, by_part, cutoff=cutoff)]
    return [*dict.fromkeys(close)][:3]


def did_you_mean(wanted: str, names: Iterable[str], otherwise: str) -> str:
    """A question that lists :func:`near_names`; if there are none, ``otherwise``."""
    close = near_names(wanted, names)
    return f"did you mean {' or '.join(close)}?" if close else otherwise


def check_choice(kind: str, wanted: Collection[str], known: Collection[str], source: str) -> None:
    """
    Raises:
        UserError: a wanted name is not among the known ones.
    """
    for each in wanted:
        if each not in known:
            shown = ", ".join([*known][:8]) + (", ..." if len(known) > 8 else "")
            raise UserError(f"{source} has no {kind} '{each}': it has {shown}")

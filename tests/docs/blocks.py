"""The fenced blocks of a Markdown page.

A fence ```` ```bash ```` or ```` ```python ```` is run. A block that cannot run here has the line
``<!-- not run: the reason -->`` directly above its fence. Directives of MyST, such as
```` ```{note} ````, are prose.
"""

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = {"bash", "python", "yaml", "json", "text"}
_FENCE = re.compile(r"[ >]*(?P<ticks>`{3,}|~{3,})(?P<language>[^`]*)")
_NOT_RUN = re.compile(r" *<!-- *not run\b:?(?P<reason>.*?)(?:-->)? *")


class BadFence(ValueError):
    """A page whose fences or comments cannot be read."""


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        language: of the fence; "" if it has none.
        code: without the fences and their indent.
        line: of the first line of code, from 1.
        reason: why it is not run; "" if it is.
    """

    language: str
    code: str
    line: int
    reason: str = ""


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, without directives.

    Raises:
        BadFence: a fence is not closed, or a comment "not run" has no reason, is not directly above a
            fence of code, or stands above one that is not run anyway.
    """
    found = []
    lines = page.read_text().splitlines()
    reason, start = "", 0  # start: of the code in the open block; 0 outside
    opened: re.Match[str] | None = None
    for number, line in enumerate(lines, 1):
        fence = _FENCE.fullmatch(line)
        if opened is not None:
            language = opened["language"].strip()
            if fence is None or fence["language"] or not fence["ticks"].startswith(opened["ticks"]):
                continue
            if not language.startswith("{"):
                code = textwrap.dedent(
                    "".join(f"{each}\n" for each in lines[start - 1 : number - 1])
                )
                found.append(Block(language, code, start, reason))
            opened, reason = None, ""
            continue
        comment = _NOT_RUN.fullmatch(line)
        if reason and (fence is None or fence["language"].strip() not in ("bash", "python")):
            raise BadFence(
                f"{page}:{number}: below 'not run' there must be a fence of bash or python"
            )
        if comment:
            reason = comment["reason"].strip()
            if not reason or not line.rstrip().endswith("-->"):
                raise BadFence(f"{page}:{number}: 'not run' needs a reason, in one line")
        elif fence:
            opened, start = fence, number + 1
    if opened is not None or reason:
        raise BadFence(
            f"{page}:{start - 1 if opened else len(lines)}: a fence is not closed, or missing"
        )
    return found


def commands_of(block: Block) -> list[list[str]]:
    """The words of each command of a bash block; a backslash continues a line."""
    lines = block.code.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [each for each in words if each]

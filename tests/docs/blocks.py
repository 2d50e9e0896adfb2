"""The fenced blocks of a Markdown page.

A fence ```` ```bash ```` or ```` ```python ```` is run. Above a block that cannot run here stands
``<!-- not run: the reason -->``. Directives of MyST, such as ```` ```{note} ````, are prose.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = {"bash", "python", "yaml", "json", "text"}
_FENCE = re.compile(
    r"^(?P<indent> *)(?:<!-- not run: (?P<reason>.+) -->\n(?P=indent))?"
    r"```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        language: of the fence; "" if it has none.
        code: without the fences.
        line: of the first line of code, from 1.
        reason: why it is not run; "" if it is.
    """

    language: str
    code: str
    line: int
    reason: str = ""


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for fence in _FENCE.finditer(text):
        if not fence["language"].startswith("{"):
            line = text.count("\n", 0, fence.start("code")) + 1
            found.append(Block(fence["language"], fence["code"], line, fence["reason"] or ""))
    return found


def commands_of(block: Block) -> list[list[str]]:
    """The words of each command of a bash block; a backslash continues a line."""
    lines = block.code.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [each for each in words if each]

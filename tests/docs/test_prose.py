"""A small prose linter: words that readers stumbled over, and what to write instead."""

import re

import pytest

from tests.docs.test_pages import PAGES
from tests.helpers import ROOT

RULES = {
    r"\bdata sets?\b(?! for Multi)": "dataset",
    r"\bone's own\b": "your own",
    r"\bwho has\b": "if you have",
    r"\bmends?\b|\bmended\b": "fix",
    r"\banew\b": "again, from scratch",
    r"\bso manieth\b": "N-th",
    r"\bis told\b|\bare told\b": "is reported",
    r"\bin vain\b": "without success",
    r"\bmay it be\b|\bbe it\b": "whether",
    r"\bfor want of\b": "without",
}
# Quoted messages and code are not prose.
_CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_prose(page):
    text = _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), (ROOT / page).read_text())
    found = [
        f"{page}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}: write {better!r}"
        for rule, better in RULES.items()
        for match in re.finditer(rule, text, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)

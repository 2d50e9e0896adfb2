"""Numbers with their nouns."""

import pytest

from d2video.utils.counted import counted


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (0, "track", "0 tracks"),
        (1, "entry", "1 entry"),
        (2, "entry", "2 entries"),
        (3, "doubt", "3 doubts"),
    ],
)
def test_counted(count, noun, text):
    assert counted(count, noun) == text

from pathlib import Path

import pytest

from d2video.fetching import fetch
from d2video.utils.errors import UserError
from tests.helpers.file_server import file_server


@pytest.fixture
def server():
    with file_server() as served:
        yield served


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache; no mirror."""
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("D2VIDEO_MIRROR", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def files(cache):
    """A function that lists the files of the cache."""

    def listed() -> list[str]:
        return sorted(str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file())

    return listed


def fault(address: str) -> str:
    """The line that fetching an address ends in."""
    with pytest.raises(UserError) as error:
        fetch(address)
    assert "\n" not in str(error.value)
    return str(error.value)

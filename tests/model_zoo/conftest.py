from tests.fetching.conftest import cache, files, server  # noqa: F401

from tests.data.conftest import scratch_catalog

__all__ = ["scratch_catalog"]

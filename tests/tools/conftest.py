"""What all tests of tools need."""

import importlib.util
import logging
from pathlib import Path

import pytest
from detectron2.utils.logger import setup_logger

from tests.data.conftest import scratch_catalog

__all__ = ["scratch_catalog"]

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="session")
def demo():
    """tools/demo.py as a module."""
    spec = importlib.util.spec_from_file_location("demo", TOOLS / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def loggers_as_before():
    """A tool's ``main`` gives loggers a handler that writes to the test's own standard output, which
    is closed afterwards: later tests would find complaints about that in theirs."""
    loggers = [logging.getLogger(name) for name in ("d2video", "detectron2", "fvcore")]
    before = [(each, each.handlers[:], each.propagate, each.level) for each in loggers]
    yield
    for logger, handlers, propagate, level in before:
        logger.handlers[:] = handlers
        logger.propagate = propagate
        logger.setLevel(level)
    setup_logger.cache_clear()  # else it would not set them up again

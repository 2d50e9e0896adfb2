"""Fixtures of all tests."""

import logging

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.logger import setup_logger


@pytest.fixture
def scratch_catalog():
    """What a test registers or removes is as before after it."""
    catalogs = (DatasetCatalog, MetadataCatalog)
    before = [dict(catalog) for catalog in catalogs]
    yield
    for catalog, entries in zip(catalogs, before, strict=True):
        catalog.data = entries


@pytest.fixture
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

"""Fixtures of all tests.

detectron2 is imported where it is used: pytest-xdist's main process, which runs no test, needs none.
"""

import functools
import gc
import json
import logging
import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of torch, which each worker of pytest imports later

pytest_plugins = ["tests.helpers.budget"]


def pytest_sessionfinish() -> None:
    """End the worker processes of loaders that tests have left in reference cycles. Otherwise that happens
    when Python ends, and pytest-xdist interrupts it: a traceback after the last line."""
    gc.collect()


@pytest.fixture
def scratch_catalog():
    """What a test registers or removes is as before after it."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    catalogs = (DatasetCatalog, MetadataCatalog)
    before = [dict(catalog) for catalog in catalogs]
    yield
    for catalog, entries in zip(catalogs, before, strict=True):
        catalog.data = entries


@pytest.fixture
def write_json(tmp_path):
    """Write a value as JSON, return the path."""

    def write(value) -> str:
        path = tmp_path / "annotations.json"
        path.write_text(json.dumps(value))
        return str(path)

    return write


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


@pytest.fixture(params=["eager", pytest.param("inductor", marks=pytest.mark.long)])
def compile_backend(request, monkeypatch):
    """What ``torch.compile`` makes of the graphs that it traces; users have inductor."""
    from torch import nn

    compiling = functools.partialmethod(nn.Module.compile, backend=request.param)
    monkeypatch.setattr(nn.Module, "compile", compiling)

"""What all tests of programs need."""

import pytest

from d2video.cli import predict
from tests.helpers import stub_video_model  # noqa: F401  registers the models


@pytest.fixture(scope="session")
def demo():
    """The program that predicts, as a module."""
    return predict


@pytest.fixture(autouse=True)
def _restore_loggers(loggers_as_before):
    """A program sets up logging."""

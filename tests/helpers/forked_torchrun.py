"""torchrun in a :class:`FreshProcess`: what it starts is forked, where users' are new interpreters.

``python -m tests.helpers.forked_torchrun`` takes torchrun's arguments.
"""

from typing import Any
from unittest import mock

from torch.distributed import run
from torch.distributed.launcher.api import elastic_launch

from tests.helpers.fresh_process import run_program


def _launch(config: Any, entrypoint: str) -> elastic_launch:
    """Processes that run here what torchrun would have the interpreter ``entrypoint`` run."""
    return elastic_launch(config, _program)


def _program(*words: str) -> None:
    run_program(words)


if __name__ == "__main__":
    with mock.patch.object(run, "elastic_launch", _launch):
        run.main()

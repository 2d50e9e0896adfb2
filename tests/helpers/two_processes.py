"""A tiny IPT trained by the command-line tool in two processes."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.helpers.fresh_process import run_fresh
from tests.projects.IPT.tiny import NODE

_SIZE = {f"{NODE}NUM_FEATURES": 4, f"{NODE}NUM_LAYERS": 1, f"{NODE}PATCH_SIZE": 12}


def train(folder: Path, **options: Any) -> subprocess.CompletedProcess:
    """25 steps on the data sets below ``folder``, into its ``out``.

    Args:
        options: of the config, with "__" for ".".
    """
    given = {
        "DATASETS.TEST": "()",
        "OUTPUT_DIR": folder / "out",
        "SOLVER.MAX_ITER": 25,
        "SOLVER.IMS_PER_BATCH": 2,
        **_SIZE,
        **{key.replace("__", "."): value for key, value in options.items()},
    }
    words = ["tools/train_net.py", "--num-gpus", "2", "--dist-url", "auto"]
    words += ["--config-file", "configs/IPT/ipt_tiny_images.yaml"]
    words += [word for option in given.items() for word in option]
    return run_fresh(*words, environment={"DETECTRON2_DATASETS": str(folder)})


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out/metrics.json").read_text().splitlines()]

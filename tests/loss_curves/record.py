"""The losses of a short training of a system on the CPU, as ``tests/projects/<SYSTEM>/loss_curve.json``
has them.

``python -m tests.loss_curves.record SYSTEM ...`` (none: all) writes the file anew, after a change
that was meant to change the numbers; say in the commit message why they changed.
"""

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.helpers.fresh_process import run_fresh
from tests.helpers.systems import SYSTEMS, declared, system_cfg, write_data

STEPS = 8


def curve_file(system: str) -> Path:
    return Path(declared(system).__file__).with_name("loss_curve.json")


def record(system: str) -> dict[str, Any]:
    """``platform``: what the numbers depend on; ``losses``: {name: one number a step}."""
    with tempfile.TemporaryDirectory() as folder:
        words = ("-m", "tests.loss_curves.record", "--print", system, folder)
        done = run_fresh(*words, environment={"DETECTRON2_DATASETS": f"{folder}/data"})
    if done.returncode:
        raise RuntimeError(f"{system}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _train(system: str, folder: Path) -> dict[str, Any]:
    import torch
    from detectron2.engine import HookBase
    from detectron2.utils.env import seed_all_rng

    from d2video.engine import VideoTrainer

    losses: dict[str, list[float]] = {}

    class Recorder(HookBase):
        def after_step(self) -> None:
            for name, (value, when) in self.trainer.storage.latest().items():
                if "loss" in name and when == self.trainer.iter:
                    losses.setdefault(name, []).append(value)

    torch.set_num_threads(1)
    write_data(system, folder / "data")
    cfg = system_cfg(
        system,
        OUTPUT_DIR=str(folder),
        DATALOADER__NUM_WORKERS=0,
        SOLVER__MAX_ITER=STEPS,
        SOLVER__CHECKPOINT_PERIOD=1000,
    )
    seed_all_rng(cfg.SEED)
    trainer = VideoTrainer(cfg)
    trainer.register_hooks([Recorder()])
    trainer.train()
    platform = {
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "machine": os.uname().machine,
        "data": _digest(folder / "data"),
    }
    return {"platform": platform, "losses": dict(sorted(losses.items()))}


def _digest(folder: Path) -> str:
    """Of the images and videos as files; they depend on the codecs."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".jpg", ".png", ".mp4"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def main() -> None:
    match sys.argv[1:]:
        case ["--print", system, folder]:
            print(json.dumps(_train(system, Path(folder))))
        case systems:
            for system in systems or SYSTEMS:
                curve_file(system).write_text(json.dumps(record(system), indent=1) + "\n")
                print(curve_file(system), flush=True)


if __name__ == "__main__":
    main()

"""A training of a few numbers, as a program: started by ``launch_run`` or torchrun, with accidents.

python -m tests.helpers.tiny_training --config-file OUTPUT_DIR [...] KEY VALUE ...; for the keys see
``DEFAULTS``. What a process does is written to ``progress<rank>``, line by line.
"""

import argparse
import json
import os
import signal
import time
from pathlib import Path

import torch
from detectron2.engine import create_ddp_model
from detectron2.engine.train_loop import TrainerBase
from detectron2.utils import comm
from torch.utils.data import DataLoader

from d2video.cli.train import argument_parser
from d2video.engine import launch
from d2video.engine.hooks.stop_signal import StopOnSignal
from d2video.engine.launch import launch_run
from d2video.engine.step import StepTrainer
from d2video.utils.errors import exit_on_user_error

DEFAULTS = {
    "steps": 1000,
    "seconds": 0.05,  # a step
    "workers": 0,
    "save_seconds": 0.0,
    "grace": 15.0,  # launch.GRACE
    # The accident, "kill", "raise", "nan" or "hang", of one process in one step; with "once" only
    # where torchrun has not restarted it.
    **{"accident": "", "rank": 1, "at": 3, "once": False},
}


def options_of(args: argparse.Namespace) -> argparse.Namespace:
    given = dict(zip(args.opts[::2], args.opts[1::2], strict=True))
    options = {key: type(value)(given.get(key, value)) for key, value in DEFAULTS.items()}
    return argparse.Namespace(**options)


class Numbers(torch.utils.data.IterableDataset):
    def __init__(self, seconds: float):
        self.seconds = seconds

    def __iter__(self):
        while True:
            time.sleep(self.seconds)
            yield {"value": torch.ones(1), "file_name": f"of_{comm.get_rank()}"}


class Model(torch.nn.Linear):
    def forward(self, batch):
        return {"loss": super().forward(batch[0]["value"]).sum()}


class Tiny(TrainerBase):
    def __init__(self, args: argparse.Namespace):
        super().__init__()
        self.options = options_of(args)
        self.folder = Path(args.config_file)
        model = create_ddp_model(Model(1, 1), broadcast_buffers=False, device_ids=None)
        loader = DataLoader(
            Numbers(self.options.seconds),
            batch_size=1,
            collate_fn=list,
            num_workers=self.options.workers,
        )
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        self.stepper = StepTrainer(model, loader, optimizer, output_dir=str(self.folder))
        self.register_hooks([StopOnSignal(self.save)])
        saved = self.folder / "saved.json"
        if args.resume and saved.is_file():
            self.start_iter = json.loads(saved.read_text())["iteration"] + 1

    def note(self, text: str) -> None:
        with (self.folder / f"progress{comm.get_rank()}").open("a") as file:
            file.write(text + "\n")

    def save(self) -> None:
        if comm.is_main_process():
            time.sleep(self.options.save_seconds)
            (self.folder / "saved.json").write_text(json.dumps({"iteration": self.iter}))

    def run_step(self) -> None:
        self.note(f"step {self.iter} of process {os.getpid()}")
        restarted = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
        mine = comm.get_rank() == self.options.rank and self.iter == self.options.at
        if mine and not (self.options.once and restarted):
            self.accident(self.options.accident)
        self.stepper.iter = self.iter
        self.stepper.run_step()
        if self.options.once and not restarted:
            self.save()

    def accident(self, kind: str) -> None:
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "raise":
            raise RuntimeError("the accident")
        elif kind == "hang":
            time.sleep(1000)
        elif kind == "nan":
            with torch.no_grad():
                self.stepper.model.module.bias.fill_(torch.nan)


def run(args: argparse.Namespace) -> None:
    trainer = Tiny(args)
    trainer.train(trainer.start_iter, trainer.options.steps)
    weights = [parameter.item() for parameter in trainer.stepper.model.parameters()]
    trainer.note(f"done with {weights}")


@exit_on_user_error
def main() -> None:
    args = argument_parser().parse_args()
    launch.GRACE = options_of(args).grace
    launch_run(run, args, "cpu")
    if rank := os.environ.get("RANK"):  # under torchrun, in a process of the training
        names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
        (Path(args.config_file) / f"threads{rank}").write_text(" ".join(names))


if __name__ == "__main__":
    main()

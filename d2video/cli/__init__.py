"""The commands of ``d2video``: one module each; scripts in ``tools/`` call most of them.

A module's ``main`` reads the command line, through ``parse_args`` if it is long, and does the work. torch,
detectron2 and the packages of d2video that need them are imported inside functions, where the work begins.
``--help`` and errors in the arguments therefore appear at once.
"""

import importlib
import sys
from collections.abc import Callable, Sequence

import d2video
from d2video.utils.detectron2_missing import MESSAGE, is_missing
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.near_names import did_you_mean

# Summary of each command. Its module has the same name, with underscores.
COMMANDS = {
    "predict": "annotate videos, a camera or images with a model's predictions",
    "app": "serve a page in the browser that annotates videos and pictures",
    "train": "train or evaluate any system, with detectron2's command line",
    "sweep": "train the rows of an ablation with several seeds and write the table",
    "report": "rewrite the report page of a training: curves, results and pictures",
    "evaluate": "score a trained model, or the results of any program, on datasets",
    "errors": "analyse errors: which objects a model misses or confuses, and why",
    "inspect": "visualise the inside of a model: attention, queries and layers",
    "export": "export a model to ONNX or torch.export graphs",
    "convert": "convert official checkpoints to d2video's and back; write releases",
    "check": "report every fault in a dataset, with file and location",
    "show-data": "draw training samples as the model sees them",
    "models": "list the configs and the published weights, with their addresses",
    "benchmark": "measure the speed and memory of a model",
    "install-detectron2": "install detectron2 from PyPI, without a compiler",
    "import-labels": "convert any labels to a standard format, for other programs",
    "extract-frames": "write the frames of videos as images, for faster training",
    "split": "split labelled data into a training and a held-out part",
    "make-shapes": "generate a small labelled dataset",
}
# Former names that scripts may still use, and the command that replaces each; see d2video/cli/former.py.
FORMER_NAMES = {"evaluate-mot": "evaluate", "validate-results": "evaluate", "split-ytvis": "split"}


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that ``argv`` begins with (default: ``sys.argv``).

    Raises:
        SystemExit: if the command fails or does not exist.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(overview())
    elif words[0] == "--version":
        print(f"d2video {d2video.__version__}")
    else:
        run = command(words[0])
        if words[0] != "install-detectron2" and is_missing():
            print(MESSAGE, file=sys.stderr)
            sys.exit(1)
        run(words[1:])


def command(name: str) -> Callable[[Sequence[str]], None]:
    """Return the ``main`` of a command.

    Raises:
        UserError: if there is no command of that name.
    """
    if name in FORMER_NAMES:
        return getattr(importlib.import_module(f"{__name__}.former"), name.replace("-", "_"))
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS, "'d2video --help' lists them")
        raise UserError(f"d2video has no command '{name}': {hint}")
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}").main


def overview() -> str:
    """Return the text that ``d2video --help`` shows."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: d2video COMMAND ...",
            "",
            "Video transformers on Detectron2.",
            "",
            "commands:",
            *lines,
            "",
            f"Former names: {', '.join(f'{old} ({new})' for old, new in FORMER_NAMES.items())}.",
            "'d2video COMMAND --help' explains a command; --version shows d2video's version.",
        ]
    )

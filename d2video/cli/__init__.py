"""The commands of ``d2video``: a module each, and for most a door in ``tools/``.

``main`` of a module reads its command line, with ``parse_args`` where it is long, and does the work.
torch, detectron2 and the rooms of d2video that need them are imported where the work begins, inside
functions: ``--help`` and a mistake in the arguments answer at once.
"""

import importlib
import sys
from collections.abc import Callable, Sequence

import d2video
from d2video.utils.detectron2_missing import MESSAGE, is_missing
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.near_names import did_you_mean

# What each command does. Its module has its name, with underscores.
COMMANDS = {
    "predict": "annotate videos, a camera or images with a model's predictions",
    "app": "serve a page in the browser that annotates videos and pictures",
    "train": "train or evaluate any system, with detectron2's command line",
    "sweep": "train the rows of an ablation with several seeds; write the table",
    "report": "write a training's page of curves, results and pictures anew",
    "evaluate": "score a trained model, or the results of any program, on data sets",
    "errors": "say where a model loses: which objects, and by which mistakes",
    "inspect": "show the inside of a model: attention, queries and layers in pictures",
    "export": "write a model as ONNX or torch.export graphs, which run without torch",
    "convert": "convert official checkpoints to d2video's and back; write releases",
    "check": "report every fault in a data set, with file and place",
    "show-data": "draw training samples as the model sees them",
    "models": "list the configs and the published weights, with where they are",
    "benchmark": "measure the speed and memory of a model",
    "install-detectron2": "install detectron2 from PyPI, without a compiler",
    "import-labels": "write any labels in a standard format, for other programs",
    "extract-frames": "write the frames of videos as images, for faster training",
    "split": "split labelled data into a training and a held-out part",
    "make-shapes": "generate a small labelled data set",
}
# Names that scripts may still use, and the command that does the work now; see d2video/cli/former.py.
FORMER_NAMES = {"evaluate-mot": "evaluate", "validate-results": "evaluate", "split-ytvis": "split"}


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that ``argv`` begins with; by default the words of this program.

    Raises:
        SystemExit: the command failed, or there is none of that name.
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
    """The ``main`` of a command.

    Raises:
        UserError: there is none of that name.
    """
    if name in FORMER_NAMES:
        return getattr(importlib.import_module(f"{__name__}.former"), name.replace("-", "_"))
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS, "'d2video --help' lists them")
        raise UserError(f"d2video has no command '{name}': {hint}")
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}").main


def overview() -> str:
    """What ``d2video --help`` shows."""
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
            "'d2video COMMAND --help' explains a command; --version shows d2video's.",
        ]
    )

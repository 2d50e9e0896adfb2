"""No file of a stranger is read by anything that could run code out of it: the sources are searched."""

import ast
from collections.abc import Iterator

import pytest

from tests.helpers import ROOT

SOURCES = sorted(
    path for folder in ("d2video", "projects", "tools") for path in (ROOT / folder).rglob("*.py")
)
# What reads pickles, or checkpoints by detectron2's rules, and the only files that may name it.
MODULES = {
    "pickle": {
        "d2video/checkpoint/numpy_pickles.py",  # allows arrays of numbers alone
        "d2video/evaluation/vis/entry_store.py",  # reads its own file, which has no name
    },
    **dict.fromkeys(
        ("cloudpickle", "dill", "jsonpickle", "joblib", "shelve", "marshal"), frozenset()
    ),
}
NAMES = {
    "DetectionCheckpointer": {"d2video/checkpoint/checkpointer.py"},  # its _load_file is replaced
    **dict.fromkeys(("DefaultPredictor", "LazyConfig", "_Unpickler", "Unpickler"), frozenset()),
    **dict.fromkeys(
        ("unsafe_load", "full_load", "UnsafeLoader", "FullLoader", "Loader"), frozenset()
    ),
    **dict.fromkeys(("load_state_dict_from_url", "eval", "exec", "loadmat"), frozenset()),
    "_Unpickler": {"d2video/checkpoint/numpy_pickles.py"},
}
# Calls that need an argument to be safe.
ARGUMENTS = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "merge_from_file": ("allow_unsafe", False),
    "load_yaml_with_base": ("allow_unsafe", False),
}
CALLS: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        ("yaml.load", "yaml.load_all", "torch.hub.load", "torch.jit.load"), frozenset()
    ),
}


def faults(source: str, name: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            modules = names if isinstance(node, ast.Import) else [node.module or "", *names]
            for module in modules:
                if name not in MODULES.get(module.split(".")[0], {name}):
                    yield f"{name}:{node.lineno}: imports {module}"
                if name not in NAMES.get(module.split(".")[-1], {name}):
                    yield f"{name}:{node.lineno}: imports {module}"
        elif isinstance(node, ast.Name | ast.Attribute):
            text = node.id if isinstance(node, ast.Name) else node.attr
            # model.eval() is another matter.
            method = isinstance(node, ast.Attribute) and text in ("eval", "exec")
            if not method and name not in NAMES.get(text, {name}):
                yield f"{name}:{node.lineno}: uses {text}"
        elif isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            if name not in CALLS.get(function, {name}):
                yield f"{name}:{node.lineno}: calls {function}"
            needed = ARGUMENTS.get(function) or ARGUMENTS.get(function.rpartition(".")[2])
            given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            if needed and given.get(needed[0]) is not needed[1]:
                yield f"{name}:{node.lineno}: {function} without {needed[0]}={needed[1]}"


def test_sources_read_files_safely():
    assert len(SOURCES) > 100
    found = []
    for path in SOURCES:
        found += faults(path.read_text(), path.relative_to(ROOT).as_posix())
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import load",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "np.load('x')",
        "np.load('x', allow_pickle=True)",
        "cfg.merge_from_file('x')",
        "cfg.merge_from_file('x', allow_unsafe=True)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "yaml.unsafe_load(text)",
        "eval('1')",
        "from detectron2.engine import DefaultPredictor",
        "from detectron2.checkpoint import DetectionCheckpointer",
        "torch.hub.load_state_dict_from_url('x')",
    ],
)
def test_the_search_finds(source):
    assert list(faults(source, "d2video/x.py"))


def test_the_search_lets_pass():
    source = "torch.load(p, weights_only=True)\nmodel.eval()\nnp.load(p, allow_pickle=False)\n"
    assert list(faults(source + "yaml.safe_load(text)\nmodule.load_state_dict(x)", "x.py")) == []

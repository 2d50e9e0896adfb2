"""Config files and overrides, and the models that are built from what is accepted.

Sizes stay small: a config that asks for a large model is a wish, not a fault.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from d2video.config import load_cfg
from d2video.config.loading import set_value
from d2video.config.stored import config_text, load_stored_cfg
from d2video.projects import register_all
from tests.fuzz.mutators import STRINGS, extreme, mutate_structure, mutate_text
from tests.fuzz.session import MakeInput, target
from tests.helpers.systems import SYSTEMS, config_files, declared


def flat(node: CfgNode, prefix: str = "") -> list[tuple[str, Any]]:
    pairs = []
    for key, value in node.items():
        name = f"{prefix}{key}"
        pairs += flat(value, f"{name}.") if isinstance(value, CfgNode) else [(name, value)]
    return pairs


@target("config_file", 300)
def config_file(folder: Path) -> MakeInput:
    register_all()
    path = folder / "a.yaml"
    texts = [path.read_text() for path in config_files()]
    # Without their bases, which take most of the time; some inputs name one of their own.
    contents = [{k: v for k, v in yaml.safe_load(text).items() if k != "_BASE_"} for text in texts]

    def make_input(rng: random.Random) -> Callable[[], Any]:
        kind = rng.randrange(3)
        if kind == 0:
            path.write_bytes(mutate_text(rng, rng.choice(texts), ":, "))
        else:
            bent = mutate_structure(rng, rng.choice(contents))
            if kind == 2 and isinstance(bent, dict):
                bent["_BASE_"] = rng.choice(
                    ["a.yaml", str(path), ".", "b.yaml", *STRINGS, extreme(rng)]
                )
            # What yaml cannot write is no file.
            try:
                text = yaml.safe_dump(bent, allow_unicode=True)
            except (yaml.YAMLError, ValueError):
                text = repr(bent)
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return lambda: load_cfg(str(path), [])

    return make_input


@target("config_in_checkpoint", 200)
def config_in_checkpoint(folder: Path) -> MakeInput:
    texts = [config_text(load_cfg(str(path), ["MODEL.DEVICE", "cpu"])) for path in config_files()]

    def make_input(rng: random.Random) -> Callable[[], Any]:
        text = rng.choice(texts)
        if rng.random() < 0.5:
            text = mutate_text(rng, text, ":, ").decode(errors="replace")
        else:
            lines = text.splitlines()
            at = rng.randrange(len(lines))
            key = lines[at].partition(":")[0]
            lines[at] = f"{key}: {rng.choice(STRINGS) if rng.random() < 0.5 else extreme(rng)}"
            text = "\n".join(lines)
        return lambda: load_stored_cfg(text, "the config in checkpoint x", ["MODEL.DEVICE", "cpu"])

    return make_input


@target("config_overrides", 300)
def config_overrides(folder: Path) -> MakeInput:
    register_all()
    keys = [name for name, _ in flat(load_cfg("", []))]

    def make_input(rng: random.Random) -> Callable[[], Any]:
        overrides: list[str] = []
        for _ in range(rng.choice([1, 1, 2])):
            key = rng.choice(keys) if rng.random() < 0.9 else rng.choice(STRINGS)
            # As from a command line, where all is text.
            overrides += [key, str(extreme(rng))[:6000]]
        if rng.random() < 0.1:
            overrides.pop()
        return lambda: load_cfg("", overrides)

    return make_input


SMALL_VALUES: list[Any] = [
    *(
        -1,
        0,
        1,
        2,
        3,
        5,
        7,
        0.5,
        -0.5,
        1.0,
        True,
        False,
        "",
        "a",
        "cpu",
        [],
        [0],
        ["a"],
        [1, 2],
        ["res9"],
    ),
    *([0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [-1.0, 1.0, 1.0], None),
]


@target("model", 150)
def models(folder: Path) -> MakeInput:
    """Keys of the model's own nodes, one or two at a time."""
    cases = [case for system in SYSTEMS for case in declared(system).fuzzed_models()]
    keys = [[pair for pair in flat(cfg) if pair[0].startswith(starts)] for cfg, starts in cases]

    def make_input(rng: random.Random) -> Callable[[], Any]:
        at = rng.randrange(len(cases))
        overrides: list[Any] = []
        for _ in range(rng.choice([1, 1, 2])):
            key, value = rng.choice(keys[at])
            # Of another type: load_cfg tells, see the targets above.
            fitting = [v for v in SMALL_VALUES if type(v) is type(value)]
            overrides += [key, rng.choice(fitting or [value])]

        def build() -> None:
            cfg = cases[at][0].clone()
            for key, value in zip(overrides[::2], overrides[1::2], strict=True):
                set_value(cfg, key, value, "fuzz")
            build_model(cfg)

        return build

    return make_input

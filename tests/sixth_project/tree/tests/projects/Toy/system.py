"""Toy as tests of every system run it; see tests/helpers/systems.py."""

from pathlib import Path

from detectron2.config import CfgNode

from d2video.config import load_cfg
from d2video.projects import register_all
from demo.recipe import load_recipe

CONFIG = "configs/Toy/toy.yaml"


def write_data(root: Path) -> None:
    recipe = load_recipe("Toy")
    recipe.write_data(root / recipe.folder, {"train": 6}, recipe.spec)


def training_cfg(*options) -> CfgNode:
    register_all()
    config = str(Path(__file__).parents[3] / CONFIG)
    return load_cfg(config, ["MODEL.TOY.DROPOUT", 0.2, *options])


def fuzzed_models() -> list[tuple[CfgNode, tuple[str, ...]]]:
    return [(training_cfg(), ("MODEL.TOY",))]

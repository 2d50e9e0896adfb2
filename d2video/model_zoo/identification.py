"""Find the config for a file of weights that contains none: an official file, or one from the Hub."""

import logging
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY, build_model

from d2video.checkpoint import State, state_dict_of, translated
from d2video.checkpoint.hub_config import hub_config
from d2video.checkpoint.recognition import MODEL_SIZES, foreign_file, recognise
from d2video.config import load_cfg
from d2video.fetching import address_key, sha256_of, shown
from d2video.model_zoo.entries import ENTRIES, Entry
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

# Number of blocks in the third stage of a ResNet, by its depth.
_BLOCKS = {50: 6, 101: 23}


class Identified(NamedTuple):
    """Name of a config, and keys and values that override it."""

    config: str
    opts: tuple[Any, ...] = ()


@dataclass(frozen=True)
class _Sayings:
    """Facts about a model, stored in or beside its file, that its parameters do not show.

    Attributes:
        dilated: whether the backbone's last stage is dilated; None: unknown.
        heads: number of attention heads; 0: unknown.
        proposals: number of proposals of a two-stage model; 0: unknown, or another model.
    """

    dilated: bool | None = None
    heads: int = 0
    proposals: int = 0

    @classmethod
    def of(cls, content: dict[str, Any], hub: dict[str, Any]) -> "_Sayings":
        """
        Args:
            content: of the file; the official code of the DETR family stores its arguments in it.
            hub: the ``config.json`` beside the file.
        """
        if hub:
            backbone = hub.get("backbone_config")
            stride = backbone.get("output_stride") if isinstance(backbone, dict) else None
            proposals = hub.get("two_stage_num_proposals") if hub.get("two_stage") else 0
            heads = hub.get("encoder_attention_heads")
            return cls(bool(hub.get("dilation")) or stride == 16, _count(heads), _count(proposals))
        args = content.get("args")
        if not isinstance(args, Namespace):
            return cls()
        dilated = getattr(args, "dilation", None)
        return cls(
            dilated if isinstance(dilated, bool) else None, _count(getattr(args, "nheads", 0))
        )

    def fit(self, cfg: CfgNode) -> bool:
        return self.dilated in (None, cfg.MODEL.RESNETS.RES5_DILATION > 1)

    def sizes(self, cfg: CfgNode) -> tuple[Any, ...]:
        """Keys and values that differ from the config's."""
        node = getattr(META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE), "node", "")
        if not node:
            return ()
        said = {f"{node}.NUM_HEADS": self.heads, f"{node}.NUM_QUERIES": self.proposals}
        return tuple(
            part
            for key, value in said.items()
            if value and value != _value(cfg, key)
            for part in (key, value)
        )


def identify(content: dict[str, Any], source: str, file: Path) -> Identified:
    """Find the config in the zoo for a file; its numbers of classes and queries may differ.

    The file's URL or name in the zoo decides. Otherwise the Hub's ``config.json`` beside it or the official
    code's arguments in it decide, then its hash, and which configs its parameters fit.

    Args:
        content: content of the file, from :func:`d2video.checkpoint.load_checkpoint_file`.
        source: URL or path of the file.
        file: the file on this machine.

    Raises:
        UserError: if no config fits, or several do; the message lists them.
    """
    content = {**content, "model": state_dict_of(content, file)}
    name, known = shown(source), [entry for entry in ENTRIES if entry.config]
    named = [entry for entry in known if _is_named(entry, source, file)]
    fitting = _fitting(named, content, file) or _fitting(known, content, file)
    if len(fitting) > 1:
        digest = sha256_of(file)
        of_hash = [entry for entry in fitting if entry.sha256 and digest.startswith(entry.sha256)]
        fitting = {entry: fitting[entry] for entry in of_hash} or fitting
    if not fitting:
        for entry in ENTRIES:
            if not entry.config and _is_named(entry, source, file):
                raise UserError(
                    f"checkpoint {name}: no config builds its network ({entry.task}"
                    f"{f'; {entry.note}' if entry.note else ''}): take another model of 'd2video models'"
                )
        raise UserError(
            f"checkpoint {name} holds no config, and its parameters fit none of the zoo: give "
            "--config-file"
        )
    if len(fitting) > 1:
        raise UserError(
            f"checkpoint {name} holds no config, and its parameters fit several of the zoo: "
            f"{', '.join(entry.config for entry in fitting)}; give one of them as --config-file"
        )
    ((entry, sizes),) = fitting.items()
    told = ", ".join(f"{key} {value}" for key, value in zip(sizes[::2], sizes[1::2]))
    logger.info("%s: a model of %s%s", name, entry.config, f" with {told}" if told else "")
    return Identified(entry.config, (*entry.opts, *sizes))


def _is_named(entry: Entry, source: str, file: Path) -> bool:
    is_there = address_key(source) in map(address_key, entry.addresses)
    return is_there or f"/{file.as_posix()}".endswith(f"/{entry.file_name}")


def _fitting(
    entries: Sequence[Entry], content: dict[str, Any], file: Path
) -> dict[Entry, tuple[Any, ...]]:
    """Return the entries whose models have the file's parameters, and the sizes that differ."""
    state, dialect = translated(content["model"])
    architectures = {architecture for architecture, _ in recognise(state)}
    said = _Sayings.of(content, hub_config(file) if dialect else {})
    blocks = {name.split("layer3.")[1].split(".")[0] for name in state if "body.layer3." in name}
    fitting = {}
    for entry in entries:
        given = ["MODEL.DEVICE", "meta", "OUTPUT_DIR", "", *entry.opts]
        cfg = load_cfg(entry.config, given)
        depth = _BLOCKS.get(cfg.MODEL.RESNETS.DEPTH)
        if cfg.MODEL.META_ARCHITECTURE not in architectures or not said.fit(cfg):
            continue
        if blocks and len(blocks) != depth:  # spares building the model
            continue
        sizes = _sizes(cfg, content)
        if sizes is not None:
            fitting[entry] = (*said.sizes(cfg), *sizes)
    return fitting


def _sizes(cfg: CfgNode, content: dict[str, Any]) -> tuple[Any, ...] | None:
    """Return keys and values that give the config's model exactly the file's parameters, or None."""
    found = _renamed(cfg, content)
    if found is None:
        return None
    sizes: tuple[Any, ...] = ()
    for size in MODEL_SIZES.get(cfg.MODEL.META_ARCHITECTURE, ()):
        value = found[0].get(size.parameter)
        if value is not None and value.dim() > 0:
            rows = len(value) - size.beside
            if rows != _value(cfg, size.key):
                sizes += (size.key, rows, *size.along)
    if sizes:
        cfg = cfg.clone()
        cfg.merge_from_list(list(sizes))
        found = _renamed(cfg, content)
        if found is None:
            return None
    state, model = ({name: value.shape for name, value in each.items()} for each in found)
    return sizes if state == model else None


def _renamed(cfg: CfgNode, content: dict[str, Any]) -> tuple[State, State] | None:
    """Return the file's parameters under the model's names, and the model's; None if they do not match."""
    # The dilation of the last stage changes no parameter.
    config = cfg.dump().replace("RES5_DILATION: 2", "RES5_DILATION: 1")
    try:
        model = _parameters(config)
        found = foreign_file(content, cfg.MODEL.META_ARCHITECTURE, model)
        return (content["model"] if found is None else found.renamed(model)[0]), model
    except UserError as error:
        logger.debug("%s: %s", cfg.MODEL.META_ARCHITECTURE, error)
        return None


@lru_cache(maxsize=4)
def _parameters(config: str) -> State:
    with torch.device("meta"):  # neither memory nor random numbers
        return build_model(CfgNode.load_cfg(config)).state_dict()


def _value(cfg: CfgNode, key: str) -> Any:
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0

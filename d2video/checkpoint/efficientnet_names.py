"""Names of EfficientNet parameters in EfficientNet-PyTorch, the port by Melas-Kyriazi, and in timm.

The two number blocks differently (``_blocks.7``, ``blocks.3.2``) and batch norms, too: from 0 with 0 for the
expansion, which the first blocks lack, and from 1 without gaps.
"""

import re
from collections.abc import Callable, Collection

from d2video.checkpoint.convert import CheckpointFormat, State
from d2video.utils.errors import UserError

_STEM = "net.conv_stem.weight"
_OUTSIDE_BLOCKS = {"conv_stem": "_conv_stem", "bn1": "_bn0"}
_IN_BLOCK = {
    **{"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"},
    **{"conv_pwl": "_project_conv", "bn3": "_bn2"},
}
# A block without an expansion.
_IN_FIRST_BLOCK = {
    **{"conv_dw": "_depthwise_conv", "bn1": "_bn1"},
    **{"conv_pw": "_project_conv", "bn2": "_bn2"},
}
_BLOCK = re.compile(r"blocks\.(\d+)\.(\d+)\.(\w+)\.(.+)")


def efficientnet_format(names: Collection[str], model: Collection[str]) -> CheckpointFormat | None:
    """The format of a classifier of EfficientNet-PyTorch for the backbone of a model, which may have
    fewer blocks (MODEL.TIMM.OUT_FEATURES).

    Args:
        names: of the file's parameters.
        model: names of the model's.

    Returns:
        None if the file is not such a classifier, or the model has no EfficientNet of timm.
    """
    stems = [name for name in model if name.endswith(_STEM)]
    if len(stems) != 1 or "_conv_stem.weight" not in names:
        return None
    prefix = stems[0].removesuffix("conv_stem.weight")
    ours = [name.removeprefix(prefix) for name in model if name.startswith(prefix)]
    return CheckpointFormat(
        "EfficientNet of EfficientNet-PyTorch",
        _foreign_name(ours, prefix),
        not_in_file=tuple(name for name in model if not name.startswith(prefix)),
        not_in_model=(
            *("_conv_head.", "_bn1.", "_fc."),
            *(f"_blocks.{number}." for number in range(len(_blocks(ours)), _count_blocks(names))),
        ),
        adapt=_check,
    )


def _blocks(ours: Collection[str]) -> list[tuple[str, str]]:
    """The stage and the number in it of all blocks, in order."""
    found = {(match[1], match[2]) for match in map(_BLOCK.match, ours) if match}
    return sorted(found, key=lambda block: (int(block[0]), int(block[1])))


def _count_blocks(theirs: Collection[str]) -> int:
    numbers = [match[1] for match in map(re.compile(r"_blocks\.(\d+)\.").match, theirs) if match]
    return 1 + max(map(int, numbers), default=-1)


def _foreign_name(ours: Collection[str], prefix: str) -> Callable[[str], str]:
    numbers = {block: number for number, block in enumerate(_blocks(ours))}
    expanding = {
        match.group(1, 2) for match in map(_BLOCK.match, ours) if match and match[3] == "conv_pwl"
    }

    def name_of(name: str) -> str:
        own = name.removeprefix(prefix)
        if match := _BLOCK.fullmatch(own):
            block = match[1], match[2]
            parts = _IN_BLOCK if block in expanding else _IN_FIRST_BLOCK
            return f"_blocks.{numbers[block]}.{parts.get(match[3], match[3])}.{match[4]}"
        part, _, rest = own.partition(".")
        return f"{_OUTSIDE_BLOCKS.get(part, part)}.{rest}"

    return name_of


def _check(state: State, target: State) -> tuple[State, list[str]]:
    """
    Raises:
        UserError: a parameter is missing or has another shape: the file is of another EfficientNet.
    """
    wrong = [
        name
        for name, value in target.items()
        if not name.endswith(".num_batches_tracked")
        and (name not in state or state[name].shape != value.shape)
    ]
    if wrong:
        raise UserError(
            f"it is another EfficientNet than the backbone: {len(wrong)} parameters of the backbone, such "
            f"as {wrong[0]}, are not in it or have another shape; set MODEL.TIMM.NAME to the file's network"
        )
    return state, []

"""Names of EfficientNet parameters in EfficientNet-PyTorch, the port by Melas-Kyriazi, and in timm.

The two number blocks differently (``_blocks.7``, ``blocks.3.2``) and batch norms, too: from 0 with 0 for the
expansion, which the first blocks lack, and from 1 without gaps.
"""

import re
from collections.abc import Callable, Collection

from d2video.checkpoint.convert import CheckpointFormat, State
from d2video.utils.errors import UserError

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
    stems = [name for name in model if name.endswith("net.conv_stem.weight")]
    if len(stems) != 1 or "_conv_stem.weight" not in names:
        return None
    prefix = stems[0].removesuffix("conv_stem.weight")
    ours = {name.removeprefix(prefix) for name in model if name.startswith(prefix)}
    blocks = _blocks(ours)
    theirs = {name.split(".")[1] for name in names if name.startswith("_blocks.")}
    return CheckpointFormat(
        "EfficientNet of EfficientNet-PyTorch",
        _foreign_name(ours, blocks, prefix),
        not_in_file=tuple(name for name in model if not name.startswith(prefix)),
        not_in_model=(
            *("_conv_head.", "_bn1.", "_fc."),
            *(f"_blocks.{number}." for number in range(len(blocks), len(theirs))),
        ),
        adapt=_check,
    )


def _blocks(ours: Collection[str]) -> list[tuple[str, str]]:
    """The stage and the number in it of all blocks, in order."""
    found = {(match[1], match[2]) for match in map(_BLOCK.match, ours) if match}
    return sorted(found, key=lambda block: (int(block[0]), int(block[1])))


def _foreign_name(
    ours: Collection[str], blocks: list[tuple[str, str]], prefix: str
) -> Callable[[str], str]:
    def name_of(name: str) -> str:
        name = name.removeprefix(prefix)
        if match := _BLOCK.fullmatch(name):
            stage, number, part, rest = match.groups()
            expands = f"blocks.{stage}.{number}.conv_pwl.weight" in ours
            parts = _IN_BLOCK if expands else _IN_FIRST_BLOCK
            return f"_blocks.{blocks.index((stage, number))}.{parts.get(part, part)}.{rest}"
        part, _, rest = name.partition(".")
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

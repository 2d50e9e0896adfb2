"""Config keys of earlier versions: what they are called now, or what replaces them."""

import logging
from typing import Any

from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

# A key or a node, under its old and its new name.
RENAMED = {
    "INPUT.CLIP.AUGMENTATIONS": "INPUT.AUGMENTATIONS",
    "INPUT.CLIP.EPOCH_UNIT": "INPUT.EPOCH_UNIT",
    "INPUT.VIDEO": "INPUT.CLASSIFICATION",
}
# Key: its default at the time, which is what happens now, and what to do where a config has another.
REMOVED: dict[str, tuple[Any, str]] = {
    "INPUT.CLIP.SHUFFLE": (False, "register a clip sampler that shuffles"),
    "INPUT.VIDEO.MAX_DECODED_FRAMES": (512, "lower NUM_FRAMES_TEST"),
    **{
        key: (default, "change the code where its default does not do")
        for key, default in {
            "INPUT.CLASSIFICATION.START_TEST": "begin",
            "INPUT.VIDEO.START_TEST": "begin",
            "MODEL.DETR.AUX_LOSS": True,
            "MODEL.DETR.PANOPTIC.MIN_AREA": 4,
            "MODEL.IPT.CONTRASTIVE_MAX_ELEMENTS": 2**24,
            "MODEL.IPT.CONTRASTIVE_TEMPERATURE": 1.0,
            "MODEL.IPT.PATCHES_AT_ONCE": 0,
            "MODEL.TRACKFORMER.AUX_LOSS": True,
            "MODEL.TRACKFORMER.BACKPROP_PREV_FRAME": False,
            "MODEL.TRACKFORMER.FALSE_POSITIVE_WEIGHT": 1.0,
            "MODEL.TRACKFORMER.FOREIGN_TRACK_PROB": 0.0,
            "MODEL.TRACKFORMER.NUM_PREV_FRAMES": 1,
            "MODEL.TRACKFORMER.PREV_FRAME_DIST": 1,
            "MODEL.TRACKFORMER.TRACKER.STEPS_TERMINATION": 1,
            "MODEL.VISTR.AUX_LOSS": True,
            "MODEL.VTN.FRAMES_AT_ONCE": 0,
            "TEST.VIDEO.PREFETCH": 8,
        }.items()
    },
}


def current_keys(values: dict[str, Any], source: str) -> dict[str, Any]:
    """Replace the old keys of a config file or a command line, with a warning.

    Args:
        values: {full key: value}.
        source: where they come from, for the messages.

    Returns:
        the values under today's keys; a removed key with its old default is left out.

    Raises:
        UserError: a removed key has another value, or a key is given under both names.
    """
    current: dict[str, Any] = {}
    renamed: dict[str, Any] = {}
    for key, value in values.items():
        if key in REMOVED:
            default, advice = REMOVED[key]
            if value != default:
                raise UserError(f"{source}: {key} no longer exists: take it out and {advice}")
            continue
        old = next((old for old in RENAMED if f"{key}.".startswith(f"{old}.")), None)
        if old is None:
            current[key] = value
            continue
        new = RENAMED[old] + key.removeprefix(old)
        logger.warning("%s: %s is now called %s", source, key, new)
        renamed[new] = value
    both = current.keys() & renamed.keys()
    if both:
        raise UserError(f"{source}: {min(both)} is also given under its old name: take that out")
    return current | renamed

"""Config keys of earlier versions, with their current names or the value that the code still supports."""

import logging
from typing import Any

from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

# Old and new names of keys and nodes.
RENAMED = {
    "INPUT.CLIP.AUGMENTATIONS": "INPUT.AUGMENTATIONS",
    "INPUT.CLIP.EPOCH_UNIT": "INPUT.EPOCH_UNIT",
    "INPUT.VIDEO": "INPUT.CLASSIFICATION",
}
# Removed keys, with the only value that the code still supports.
REMOVED: dict[str, Any] = {
    "INPUT.CLIP.SHUFFLE": False,
    "INPUT.CLASSIFICATION.START_TEST": "begin",
    "INPUT.VIDEO.MAX_DECODED_FRAMES": 512,
    "INPUT.VIDEO.START_TEST": "begin",
    "TEST.VIDEO.PREFETCH": 8,
}


def register_removed(keys: dict[str, Any]) -> None:
    """Register removed config keys of a project, each with the only value that its code still supports."""
    REMOVED.update(keys)


def current_keys(values: dict[str, Any], source: str) -> dict[str, Any]:
    """Replace the old keys of a config file or a command line, with a warning.

    Args:
        values: {full key: value}.
        source: origin of the values, for messages.

    Returns:
        The values under the current keys. A removed key with its old default is left out.

    Raises:
        UserError: if a removed key has another value, or a key is given under both names.
    """
    current: dict[str, Any] = {}
    renamed: dict[str, Any] = {}
    for key, value in values.items():
        if key in REMOVED:
            if value != REMOVED[key]:
                raise UserError(
                    f"{source}: {key} no longer exists, and {value!r} is not supported: take it out; "
                    f"the value is always {REMOVED[key]!r}"
                )
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

"""The ``config.json`` that Hugging Face ``transformers`` writes beside a model's weights."""

import json
import re
from pathlib import Path
from typing import Any

_MODELS = ("detr", "deformable_detr")
# What the Hub calls classes without a name: unused ids, and those of models that were given no names.
_NAMELESS = re.compile(r"N/A|LABEL_\d+|")


def hub_config(path: str | Path) -> dict[str, Any]:
    """What stands in ``config.json`` beside a file of weights; {} if there is none, or another model's."""
    try:
        found = json.loads((Path(path).parent / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and found.get("model_type") in _MODELS else {}


def hub_class_names(config: dict[str, Any]) -> list[str] | None:
    """The names of its classes by row of the class head ("": one without a name); None without any."""
    labels = config.get("id2label")
    if not isinstance(labels, dict):
        return None
    rows = {int(row): str(name) for row, name in labels.items() if str(row).isdecimal()}
    names = ["" if _NAMELESS.fullmatch(rows.get(i, "")) else rows[i] for i in range(len(rows))]
    return names if any(names) else None

"""The ``config.json`` that Hugging Face ``transformers`` writes beside a model's weights."""

import json
import re
from pathlib import Path
from typing import Any

from d2video.checkpoint.convert import DIALECTS
from d2video.structures import ClassHead

# What the Hub calls classes without a name: unused ids, and those of models that were given no names.
_NAMELESS = re.compile(r"N/A|LABEL_\d+|")


def hub_config(path: str | Path) -> dict[str, Any]:
    """What stands in ``config.json`` beside a file of weights; {} if there is none, or another model's."""
    try:
        found = json.loads((Path(path).parent / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    known = {dialect.model_type for dialect in DIALECTS if dialect.model_type}
    return found if isinstance(found, dict) and found.get("model_type") in known else {}


def hub_class_names(path: str | Path, head: ClassHead) -> list[str] | None:
    """The class names by row of the class head ("": a row without one) that stand beside a file of
    weights; None unless each of the head's classes has one."""
    labels = hub_config(path).get("id2label")
    if not isinstance(labels, dict):
        return None
    rows = {int(row): str(name) for row, name in labels.items() if str(row).isdecimal()}
    names = ["" if _NAMELESS.fullmatch(rows.get(i, "")) else rows[i] for i in range(len(rows))]
    classes = head.of_all(head.by_index(names))
    return names if classes and all(classes) else None

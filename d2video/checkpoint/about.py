"""Metadata that checkpoints store with their parameters: config, class names, version and metrics."""

import json
from collections.abc import Mapping
from typing import Any

import d2video
from d2video.utils.errors import BrokenCheckpoint, UserError
from d2video.utils.files import finite

CONFIG = "config"  # YAML text, see d2video.config.stored
CLASS_NAMES = "class_names"
META_ARCHITECTURE = "meta_architecture"
VERSION = "d2video_version"
METRICS = "metrics"  # {"last": the last evaluation, "best": the best one}, in plain values
_KEYS = (CONFIG, CLASS_NAMES, META_ARCHITECTURE, VERSION, METRICS)
_LONGEST_CONFIG = 1_000_000  # characters; a whole config has about 20,000


def about_model(
    meta_architecture: str, config: str = "", metrics: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the metadata to write with a model's parameters, without the class names.

    Args:
        meta_architecture: name of the model's class.
        config: text of the model's config; "": unknown.
        metrics: results of evaluations; None or empty: no evaluation.
    """
    known = {META_ARCHITECTURE: meta_architecture, VERSION: d2video.__version__}
    rest = {CONFIG: config, METRICS: finite(metrics)}
    return known | {key: value for key, value in rest.items() if value}


def to_metadata(known: Mapping[str, Any]) -> dict[str, str]:
    """Convert metadata to JSON texts, as safetensors files need."""
    return {key: json.dumps(value) for key, value in known.items()}


def from_metadata(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Reverse :func:`to_metadata`; return {} for files of other programs.

    Raises:
        UserError: if an entry is not JSON.
    """
    if VERSION not in metadata and CLASS_NAMES not in metadata:
        return {}
    known = {}
    for key in metadata.keys() & {*_KEYS}:
        try:
            known[key] = json.loads(metadata[key])
        except (ValueError, RecursionError) as error:
            raise UserError(f"'{key}' in its metadata is not JSON: write the file again") from error
    return known


def config_in(content: Mapping[str, Any], source: str) -> str:
    """Return the text of the config in a loaded file; "" if there is none.

    Entries of other programs with the same name but another form are ignored.

    Args:
        content: content of the file.
        source: description for messages, such as "checkpoint model.pth".

    Raises:
        BrokenCheckpoint: if the entry in a d2video file is not text, or is longer than any config.
    """
    text = content.get(CONFIG, "")
    if not isinstance(text, str):
        if VERSION not in content:
            return ""
        raise BrokenCheckpoint(
            f"{source}: its config is a {type(text).__name__}, not text: give --config-file"
        )
    if len(text) > _LONGEST_CONFIG:
        raise BrokenCheckpoint(
            f"{source}: its config has {len(text)} characters, more than any: give --config-file"
        )
    return text


def metrics_in(content: Mapping[str, Any], path: object) -> dict[str, Any]:
    """Return the evaluation results in a loaded file; empty if there are none.

    Raises:
        BrokenCheckpoint: if the entry has another form.
    """
    metrics = content.get(METRICS, {})
    if VERSION not in content:
        return {}
    is_dict = isinstance(metrics, dict) and metrics.keys() <= {"last", "best"}
    if not is_dict or not all(map(_is_evaluation, metrics.values())):
        raise BrokenCheckpoint(
            f"checkpoint {path}: its metrics are not those of an evaluation: write it without them"
        )
    return metrics


def _is_evaluation(found: Any) -> bool:
    match found:
        case {"iteration": int(), "results": dict(results), **rest}:
            of_numbers = all(isinstance(x, float | int | None) for x in results.values())
            texts = [*results, *rest, *rest.values()]
            known = {*results, None}
            return (
                of_numbers
                and all(isinstance(x, str) for x in texts)
                and rest.get("metric") in known
            )
    return False

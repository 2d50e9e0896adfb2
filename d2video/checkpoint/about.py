"""What a checkpoint says of itself besides its parameters, so that nobody has to know it."""

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
    """What to write beside a model's parameters; class names go their own way.

    Args:
        meta_architecture: the name of the model's class.
        config: text of the model's config; "": unknown.
        metrics: what evaluations have found; None or empty: there was none.
    """
    known = {META_ARCHITECTURE: meta_architecture, VERSION: d2video.__version__}
    rest = {CONFIG: config, METRICS: finite(metrics)}
    return known | {key: value for key, value in rest.items() if value}


def to_metadata(known: Mapping[str, Any]) -> dict[str, str]:
    """As the metadata of a safetensors file, which are texts: JSON."""
    return {key: json.dumps(value) for key, value in known.items()}


def from_metadata(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The reverse of :func:`to_metadata`; of a file of others, nothing.

    Raises:
        UserError: an entry is not JSON.
    """
    if VERSION not in metadata and CLASS_NAMES not in metadata:
        return {}
    known = {}
    for key in metadata.keys() & {*_KEYS}:
        try:
            known[key] = json.loads(metadata[key])
        except (ValueError, RecursionError) as error:
            raise UserError(f"'{key}' in its metadata is not JSON: write the file anew") from error
    return known


def config_in(content: Mapping[str, Any], source: str) -> str:
    """The text of the config that a loaded file holds; "" if it has none.

    What other programs store under the same name, in another form, does not count.

    Args:
        source: such as "checkpoint model.pth", for messages.

    Raises:
        BrokenCheckpoint: a file of this library has something else there, or more than any config.
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
    """What evaluations have found of the model of a loaded file; empty if it has nothing of it.

    Raises:
        BrokenCheckpoint: it has something else there.
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

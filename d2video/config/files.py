"""Read YAML config files together with their base files."""

import ast
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import yaml
from detectron2.utils.file_io import PathManager
from yaml.constructor import ConstructorError

from d2video.config.renamed import current_keys
from d2video.utils.errors import UserError
from d2video.utils.near_names import did_you_mean
from d2video.utils.project_folders import CONFIG_FOLDERS

_BASE = "_BASE_"
_SWEEPS = "ablations"  # a folder of sweep files
_EPOCHS = ("SOLVER.MAX_EPOCHS", "SOLVER.EPOCH_STEPS")
_ITERATIONS = ("SOLVER.MAX_ITER", "SOLVER.STEPS")


def config_names() -> dict[str, str]:
    """Return the paths of the configs of d2video and its projects by name.

    A name is, for example, "VisTR/vistr_R50_ytvis2019.yaml".
    """
    return {
        prefix + path.relative_to(folder).as_posix(): str(path)
        for prefix, folder in CONFIG_FOLDERS
        for path in sorted(folder.rglob("*.yaml"))
        if path.parent.name != _SWEEPS
    }


def find_config(name: str) -> str:
    """Return the path of a config.

    Args:
        name: an existing file, or the name of a config of d2video or a project, such as
            "VisTR/vistr_R50_ytvis2019.yaml", also without ".yaml" or with "configs/" before it.

    Raises:
        UserError: if there is neither; the message lists similar names.
    """
    if os.path.isfile(name) and name.endswith((".pth", ".pt", ".pkl", ".safetensors")):
        raise UserError(f"config {name}: this is a checkpoint: give it as MODEL.WEIGHTS")
    if "://" in name or (os.path.exists(name) and not os.path.isdir(name)):
        return name
    names = config_names()
    known = _as_name(name)
    if known in names:
        return names[known]
    if os.path.isdir(name):
        raise UserError(
            f"config {name}: this is a folder: name a config in it, or give the model as MODEL.WEIGHTS"
        )
    hint = did_you_mean(known, names, "correct the path")
    raise UserError(f"config {name}: no such file, and d2video has none of that name: {hint}")


def _as_name(path: str) -> str:
    """Turn a path into the name of a config: without leading "configs/", with ".yaml"."""
    name = os.path.normpath(path).replace(os.sep, "/").removeprefix("configs/")
    return name if name.endswith(".yaml") else f"{name}.yaml"


def read_config(path: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a config file, with its values overriding those of its ``_BASE_``.

    ``_BASE_`` is a file or a list of files, where later ones win. YAML tags that would run Python code are
    rejected.

    Args:
        path: path of the file. Bases are relative to it, or names as for :func:`find_config`.
        above: the files that have this one as a base.

    Returns:
        A dict from full keys, such as "SOLVER.BASE_LR", to values, with the keys of the current version.

    Raises:
        UserError: if a file is missing, is not a config, is its own base, or has a URL as base.
    """
    place = os.path.realpath(path)
    if place in above:
        raise UserError(f"config {path}: its {_BASE} leads back to itself: remove one of them")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"config {path} must hold keys and values, as in 'SEED: 0'")
    bases = content.pop(_BASE, [])
    values: dict[str, Any] = {}
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str) or "://" in base or not base.isprintable():
            raise UserError(
                f"config {path}: its {_BASE} must be a file or a list of files, not {base}"
            )
        base_path = os.path.join(os.path.dirname(path), os.path.expanduser(base))
        if not os.path.exists(base_path):
            base_path = config_names().get(_as_name(base), base_path)
        if not os.path.exists(base_path):
            raise UserError(
                f"config {path}: its {_BASE} {base_path} does not exist: correct the path"
            )
        values = overlay(values, read_config(base_path, (*above, place)))
    return overlay(values, current_keys(dict(flatten(content)), f"config {path}"))


def overlay(below: Mapping[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge the values of both; those of ``over`` win.

    If ``over`` sets the length of the training, it also sets the unit: MAX_ITER removes the epochs of
    ``below``, and MAX_EPOCHS removes its iterations.
    """
    dropped: tuple[str, ...] = ()
    if over.get("SOLVER.MAX_EPOCHS"):
        dropped = _ITERATIONS
    elif "SOLVER.MAX_EPOCHS" in over or "SOLVER.MAX_ITER" in over:
        dropped = _EPOCHS
    return {key: value for key, value in below.items() if key not in dropped} | over


def read_overrides(overrides: Sequence[Any]) -> dict[str, Any]:
    """Parse ``KEY VALUE`` or ``KEY=VALUE`` of a command line, with the keys of the current version.

    Raises:
        UserError: if a key has no value, or an option is in the place of a key.
    """
    return current_keys(override_pairs(overrides), "command line")


def override_pairs(overrides: Sequence[Any]) -> dict[str, Any]:
    """Like :func:`read_overrides`, but keep the keys as given."""
    pairs: dict[str, Any] = {}
    waiting = iter(overrides)
    for key in waiting:
        if str(key).startswith("-"):
            raise UserError(
                f"command line: {key} is among the config keys: put options before the first "
                f"key{f', {next(iter(pairs))}' if pairs else ''}"
            )
        key, equals, text = str(key).partition("=")
        value = text if equals else next(waiting, None)
        if value is None:
            raise UserError(
                f"command line: the config key {key} has no value: give KEY VALUE or KEY=VALUE"
            )
        pairs[key] = parse_value(value)
    return pairs


def parse_value(value: Any) -> Any:
    """Convert text that is a Python literal to its value, as yacs does, because YAML reads 1e-4 as text.

    Lists and objects may also be JSON, with ``true`` and ``null``.
    """
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    # All exceptions that literal_eval documents for text that is not a literal.
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        return json.loads(value) if value.lstrip().startswith(("[", "{")) else value
    except (ValueError, RecursionError):
        return value


class _ConfigReader(yaml.SafeLoader):
    """A reader that rejects duplicate keys, which would otherwise be dropped, and reports tags clearly."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        given: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in given:
                    raise ConstructorError(
                        None, None, f"{key.value} is given twice", key.start_mark
                    )
                given.add(key.value)
        return super().construct_mapping(node, deep)

    def refuse_tag(self, node: yaml.Node) -> Any:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        raise ConstructorError(
            None, None, f"the tag {tag} is not read: write the value itself", node.start_mark
        )


_ConfigReader.add_constructor(None, _ConfigReader.refuse_tag)


class _StrangersReader(_ConfigReader):
    """A reader that rejects aliases, with which a short text could hold billions of values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise ConstructorError(None, None, "aliases are not read", mark)
        return super().compose_node(parent, index)


def parse_stored(text: str, source: str) -> Any:
    """Parse YAML from an untrusted file.

    Raises:
        UserError: if it is not YAML, or uses tags or aliases.
    """
    return _parse(text, source, _StrangersReader)


def read_yaml(path: str, kind: str = "config") -> Any:
    """Read a YAML file of the user.

    Args:
        path: path of the file.
        kind: kind of file, for messages.

    Raises:
        UserError: if it cannot be read, is not YAML, uses tags, or contains a key twice.
    """
    try:
        with PathManager.open(path, "r") as file:
            return _parse(file, f"{kind} {path}", _ConfigReader)
    except OSError as error:
        raise UserError(f"{kind} {path}: cannot read it ({error.strerror})") from error


def _parse(stream: str | IO[str], source: str, reader_of: type[_ConfigReader]) -> Any:
    try:
        reader = reader_of(stream)
        try:
            return reader.get_single_data()
        finally:
            reader.dispose()
    # ValueError: for bytes that are not text, or a date that does not exist.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        fault = "" if isinstance(error, ConstructorError) else " is not valid YAML"
        raise UserError(f"{source}{fault}: {reason}") from error


def flatten(content: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full keys of nested dicts, such as "SOLVER.BASE_LR", and their parsed values."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", parse_value(value)

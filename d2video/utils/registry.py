"""Look a name from the config up in a registry."""

from typing import Any

from fvcore.common.registry import Registry

from d2video.utils.errors import UserError


def lookup(registry: Registry, name: str, config_key: str) -> Any:
    """The object registered as ``name``, which is the value of ``config_key``.

    Raises:
        UserError: ``name`` is not registered; the message lists what is.
    """
    if name not in registry:
        known = ", ".join(sorted(key for key, _ in registry))
        raise UserError(f"{config_key} is '{name}', which is not registered: choose one of {known}")
    return registry.get(name)

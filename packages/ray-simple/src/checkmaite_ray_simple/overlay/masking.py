"""What may be shown of an overlay: variables without their values, addresses without credentials."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

__all__ = ["MASK", "masked", "masked_text", "secrets_of"]

MASK = "***"
_USER = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s'\"@]*@")
_QUERY = re.compile(r"(?P<place>[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"?#]*\?)[^\s'\"#]+")
_SHORT = 4
"""Values shorter than this are found everywhere, and protect nothing."""


def masked(runtime_env: Mapping[str, Any]) -> dict[str, Any]:
    """A ``runtime_env`` as it may be printed.

    Values of variables are hidden, also of those that a container is started with, and so are user names, passwords
    and queries in addresses (of package indexes, of archives), wherever they stand.
    """
    return {key: _HIDDEN.get(key, _masked)(value) for key, value in runtime_env.items()}


def masked_text(text: str, secrets: Collection[str] = ()) -> str:
    """A text as it may be printed: without credentials in addresses, and without ``secrets``."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _QUERY.sub(rf"\g<place>{MASK}", _USER.sub(rf"\g<scheme>{MASK}@", text))


def secrets_of(runtime_env: Mapping[str, Any]) -> tuple[str, ...]:
    """Values of variables that are long enough to be secrets and not to be found in any text."""
    variables = runtime_env.get("env_vars")
    values = variables.values() if isinstance(variables, Mapping) else ()
    return tuple(value for value in values if isinstance(value, str) and len(value) >= _SHORT)


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return masked(value)
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return masked_text(value) if isinstance(value, str) else value


def _without_values(value: Any) -> Any:
    return dict.fromkeys(value, MASK) if isinstance(value, Mapping) else MASK


_HIDDEN: Mapping[str, Callable[[Any], Any]] = {
    "env_vars": _without_values,
    "variables": _without_values,  # of conda
    "run_options": lambda _: MASK,  # of a container: such as --env=NAME=VALUE
}

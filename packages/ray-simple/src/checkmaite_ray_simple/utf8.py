"""Paths of this machine that have to be told to others, as text."""

from __future__ import annotations

import os

from checkmaite_core.errors import ConfigurationError

__all__ = ["require_utf8"]


def require_utf8(path: str, what: str, hint: str) -> None:
    """Refuse a path that is not UTF-8: Linux takes any bytes, but neither JSON nor Ray nor Arrow has words for them.

    Args:
        path: The path, as Python has it.
        what: What it is, as the beginning of a sentence.
        hint: What to do about it.

    Raises:
        ConfigurationError: It is not.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{what}, {os.fsencode(path)!r}, is not UTF-8.", hint=hint) from error

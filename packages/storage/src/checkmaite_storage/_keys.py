"""Keys of objects: checked before they become a path or a request."""

from __future__ import annotations

import re
import unicodedata

from checkmaite_core.errors import StorageError

__all__ = ["check_key", "check_prefix"]

_MAX_SEGMENT = 255
_MAX_KEY = 1024
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,254})*\Z")


def check_key(key: object) -> str:
    """Return ``key`` if it can name an object in any store.

    A key is a relative path of non-empty segments joined by ``/``. A segment has at most 255 bytes (UTF-8),
    does not begin with ``.`` (so it is neither ``.`` nor ``..`` nor a writer's temporary file), and holds no
    control characters, backslashes or lone surrogates. The whole key has at most 1024 bytes.

    Raises:
        StorageError: It cannot; ``uri`` is the key's printable form.
    """
    problem = _problem(key)
    if problem is None:
        assert isinstance(key, str)
        return key
    raise StorageError(
        f"key {key!r} cannot name an object: {problem}.",
        hint="Use a relative path such as 'folder/name.ext' of letters, digits, '.', '_' and '-'.",
        uri=repr(key),
    )


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if keys can begin with it: empty, a key, or a key followed by ``/``.

    Raises:
        StorageError: No key can begin with it.
    """
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix


def _problem(key: object) -> str | None:
    if not isinstance(key, str):
        return f"it is a {type(key).__qualname__}"
    if len(key) <= _MAX_KEY and _PLAIN.match(key):
        return None  # nearly every key, and listings check thousands
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return "it holds a lone surrogate"
    if len(encoded) > _MAX_KEY:
        return f"it is longer than {_MAX_KEY} bytes"
    if "\\" in key or any(unicodedata.category(character).startswith("C") for character in key):
        return "it holds a control or format character, or a backslash"
    for segment in key.split("/"):
        if not segment:
            return "it has an empty segment"
        if segment.startswith("."):
            return f"segment {segment!r} begins with a dot"
        if len(segment.encode()) > _MAX_SEGMENT:
            return f"a segment is longer than {_MAX_SEGMENT} bytes"
    return None

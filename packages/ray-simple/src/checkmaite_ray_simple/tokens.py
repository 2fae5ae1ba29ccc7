"""The token of a local Ray: in a file that only its user can read, so that the user's other processes can join."""

from __future__ import annotations

import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from checkmaite_core.errors import ConfigurationError

__all__ = ["find_token", "make_token_file", "read_token_file"]

_NAME = re.compile(r"ray-[0-9a-f]{16}\.token\Z")
_LENGTH = 32
"""Bytes of a token, as Ray makes them."""


def make_token_file() -> Path:
    """Write a new token. Whoever asks for the file removes it.

    Private by decision, whatever the umask says: who has the token can run code as this user.

    Raises:
        ConfigurationError: There is no place for it.
    """
    tried: list[str] = []
    for folder in _folders():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _require_private(folder.stat())
            file = folder / f"ray-{secrets.token_hex(8)}.token"
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except OSError as error:
            tried.append(f"{folder}: {error.strerror or error}")
            continue
        with open(descriptor, "w") as out:
            out.write(secrets.token_hex(_LENGTH))
        return file
    raise ConfigurationError(
        f"there is no private folder for the token of a local Ray ({'; '.join(tried)}).",
        hint="Let XDG_STATE_HOME name a folder that only you can write to, or set RAY_AUTH_TOKEN yourself.",
    )


def read_token_file(name: str) -> str:
    """A token that :func:`make_token_file` has written, perhaps in another process of this user.

    Args:
        name: Its path. It may come from a record that others can write, so no other file is ever read.

    Returns:
        The token; empty if there is no such file.
    """
    file = Path(name)
    if file.parent not in set(_folders()) or not _NAME.match(file.name):
        return ""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        with open(descriptor) as source:
            _require_private(os.fstat(descriptor))
            return source.read().strip()
    except OSError:
        return ""


def find_token() -> str:
    """The token that Ray finds for this process, whether or not it is told to use one; empty if there is none."""
    if "RAY_AUTH_TOKEN" in os.environ:
        return os.environ["RAY_AUTH_TOKEN"].strip()
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    home = _home() or Path("/nonexistent")
    file = Path(named) if named else home / ".ray" / "auth_token"
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _home() -> Path | None:
    """The user's home; None for a user without one: no HOME, and no entry in the password database."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def _folders() -> Iterator[Path]:
    """Where tokens may lie, in order of preference."""
    state = os.environ.get("XDG_STATE_HOME", "")
    home = _home()
    if state.startswith("/"):
        yield Path(state) / "checkmaite"
    elif home is not None:
        yield home / ".local" / "state" / "checkmaite"
    # For a home that cannot be written to, and for none at all, as containers have it.
    yield Path(tempfile.gettempdir()) / f"checkmaite-{os.getuid()}"


def _require_private(found: os.stat_result) -> None:
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(None, "it is another user's, or others may use it")

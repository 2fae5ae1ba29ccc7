"""Read a profile file; every error has the file and the line."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkmaite_core.errors import ConfigurationError
from checkmaite_core.profiles._lines import KeyPath, lines_of

__all__ = ["ProfileFile", "read_profile_file"]

_PROFILES = "profiles"
_FORM = 'A profile is a table such as [profiles.team-a] with backend = "ray" below it.'
_WHERE = re.compile(r" \(at line (\d+), column \d+\)$| \(at end of document\)$")


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """What a file holds.

    Attributes:
        path: The file.
        profiles: The tables of its profiles, not yet checked.
        lines: The line of everything in it.
    """

    path: Path
    profiles: Mapping[str, Any]
    lines: Mapping[KeyPath, int]

    def place(self, name: str, keys: KeyPath = ()) -> str:
        """``FILE:LINE`` of something in a profile: of the innermost part of its path that stands in the file."""
        path: KeyPath = (_PROFILES, name, *keys)
        while path not in self.lines:
            path = path[:-1]
        return f"{self.path}:{self.lines[path]}"


def read_profile_file(path: Path) -> ProfileFile:
    """Read one file.

    Raises:
        ConfigurationError: It cannot be read, is not TOML, or holds something else than profiles.
    """
    text = _text(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _WHERE.search(str(error))
        line = found[1] if found and found[1] else text.count("\n") + 1
        raise ConfigurationError(
            f"{path}:{line}: this is not TOML: {_WHERE.sub('', str(error))}.", hint="Correct that line."
        ) from None
    lines = lines_of(text)
    for key, value in document.items():
        if key != _PROFILES:
            near = difflib.get_close_matches(f"{key}", [_PROFILES], n=1)
            raise ConfigurationError(
                f"{path}:{lines[key,]}: a profile file has no {key!r}.",
                hint=(f"Did you mean {near[0]!r}? " if near else "") + _FORM,
            )
        if not isinstance(value, dict):
            raise ConfigurationError(f"{path}:{lines[key,]}: {key!r} is not a table.", hint=_FORM)
    return ProfileFile(path=path, profiles=document.get(_PROFILES, {}), lines=lines)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}.", hint="Make the file readable, or move it out of the way."
        ) from None
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: this is not UTF-8 text.", hint="Save the file as UTF-8.") from None

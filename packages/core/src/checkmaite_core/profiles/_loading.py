"""Read profile files and take a profile out of them."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from checkmaite_core.errors import ConfigurationError
from checkmaite_core.profiles._places import FILE_NAME, PLACES, profile_files
from checkmaite_core.profiles._profile import Profile
from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["load_profile"]


def load_profile(name: str) -> Profile:
    """The profile of this name, from the nearest ``checkmaite.toml`` that has it.

    Args:
        name: Its name: ``team-a-prod`` for ``[profiles.team-a-prod]``.

    Raises:
        ConfigurationError: There is no file or no such profile, or it cannot be used; the message has the file and
            the line.
    """
    known: dict[str, Path] = {}
    for path in profile_files():
        profiles = _read(path)
        if name in profiles:
            return _profile(name, path, profiles[name])
        known = {**dict.fromkeys(profiles, path), **known}
    if not known:
        raise ConfigurationError(
            f"there is no profile {name!r}, since no {FILE_NAME} was found.", hint=f"Looked for: {PLACES}."
        )
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    listed = ", ".join(f"{known_name!r} ({path})" for known_name, path in known.items())
    raise ConfigurationError(
        f"there is no profile {name!r}.",
        hint=(f"Did you mean {near[0]!r} of {known[near[0]]}? " if near else "") + f"There are {listed}.",
    )


def _read(path: Path) -> dict[str, Any]:
    profiles: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("profiles", {})
    return profiles


def _profile(name: str, path: Path, table: dict[str, Any]) -> Profile:
    options = dict(table)
    kind = options.pop("backend")
    store = options.pop("analytics_store", None)
    return Profile(
        name=name,
        file=path,
        kind=kind,
        options=options,
        analytics_store=None if store is None else AnalyticsStoreConfig.model_validate(store),
    )

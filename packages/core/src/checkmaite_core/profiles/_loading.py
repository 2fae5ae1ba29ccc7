"""Find a profile by its name, and read all of a file."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from checkmaite_core.errors import ConfigurationError
from checkmaite_core.profiles._places import FILE_NAME, PLACES, profile_files
from checkmaite_core.profiles._profile import Profile, make_profile
from checkmaite_core.profiles._reading import read_profile_file

__all__ = ["load_profile", "load_profiles"]


def load_profile(name: str) -> Profile:
    """The profile of this name, from the nearest ``checkmaite.toml`` that has it.

    Looked for in the file that ``$CHECKMAITE_CONFIG`` names and nowhere else; without it in the current directory and
    those above, then in ``~/.config/checkmaite`` (``$XDG_CONFIG_HOME`` counts), then in ``/etc/checkmaite``.

    Args:
        name: Its name: ``team-a-prod`` for ``[profiles.team-a-prod]``.

    Raises:
        ConfigurationError: There is no file or no such profile, or it cannot be used; the message has the file and
            the line.
    """
    if not isinstance(name, str):
        raise ConfigurationError(
            f"the profile is {name!r:.200}, not a name.", hint='Pass its name, such as profile="team-a-prod".'
        )
    known: dict[str, Path] = {}
    for path in profile_files():
        source = read_profile_file(path)
        if name in source.profiles:
            return make_profile(source, name)
        known = {**dict.fromkeys(source.profiles, path), **known}
    if not known:
        raise ConfigurationError(
            f"there is no profile {name!r}: no {FILE_NAME} with profiles was found.", hint=f"Looked for: {PLACES}."
        )
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    listed = ", ".join(f"{known_name!r} ({path})" for known_name, path in known.items())
    raise ConfigurationError(
        f"there is no profile {name!r}.",
        hint=(f"Did you mean {near[0]!r} of {known[near[0]]}? " if near else "") + f"There are {listed}.",
    )


def load_profiles(path: str | Path) -> dict[str, Profile]:
    """All profiles of one file, by name: for a team that checks the file which it hands out.

    Raises:
        ConfigurationError: The file or one of its profiles cannot be used; the message has the line.
    """
    source = read_profile_file(Path(os.path.expanduser(path)).absolute())
    return {name: make_profile(source, name) for name in source.profiles}

"""Whose mistake it is that options cannot be used: the profile's, with its line, or the caller's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from checkmaite_core.errors import ConfigurationError
from checkmaite_core.profiles._lines import KeyPath
from checkmaite_core.profiles._profile import Profile

__all__ = ["Problem", "culprit", "problems_of"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One value that cannot be used.

    Attributes:
        of_profile: Whether it stands in the profile, or is missing there; else it came by a keyword.
        text: Where it stands, and what is wrong with it.
    """

    of_profile: bool
    text: str

    def __str__(self) -> str:
        return self.text


def problems_of(found: ValidationError, profile: Profile, given: Mapping[str, Any]) -> list[Problem]:
    """What pydantic found, without the values: they may be secrets.

    Args:
        found: Its error, for the profile's options and the keywords together.
        profile: The profile.
        given: The keywords.
    """
    problems = []
    for item in found.errors(include_input=False, include_url=False, include_context=False):
        keys = item["loc"]
        of_profile = not _is_given(given, keys)
        origin = f"{profile.place(*keys)}:" if of_profile else "the argument"
        what = f"{'.'.join(map(str, keys)) or 'value'}: {item['msg'].removeprefix('Value error, ')}"
        problems.append(Problem(of_profile, f"{origin} {what}"))
    return problems


def _is_given(given: Mapping[str, Any], keys: KeyPath) -> bool:
    """Whether what is wrong came by a keyword."""
    if not keys or keys[0] not in given:
        return False
    # A keyword replaces an option whole; only a runtime_env is added to the profile's.
    value: Any = given if keys[0] == "runtime_env" else None
    for key in keys:
        if not isinstance(value, Mapping):
            break
        if key not in value:
            return False
        value = value[key]
    return True


def culprit(
    options: Mapping[str, Any], parse: Callable[[Mapping[str, Any]], object], error: ConfigurationError
) -> KeyPath:
    """The part of a profile without which the error would not be: for errors that do not say where.

    Args:
        options: The profile's.
        parse: Reads options, the keywords added, as a backend would.
        error: What it raises for all of them.

    Returns:
        Where the part stands; nothing if the error is there without the profile.
    """

    def remains(without: Mapping[str, Any]) -> bool:
        try:
            parse(without)
        except ConfigurationError as other:
            return other.message == error.message
        return False

    return _culprit(options, remains)


def _culprit(options: Mapping[str, Any], remains: Callable[[Mapping[str, Any]], bool]) -> KeyPath:
    def is_to_blame(name: str) -> bool:
        return not remains({key: item for key, item in options.items() if key != name})

    blamed = next(filter(is_to_blame, options), None)
    if blamed is None:
        return ()
    inside = options[blamed]
    if not isinstance(inside, Mapping):
        return (blamed,)
    return (blamed, *_culprit(inside, lambda changed: remains({**options, blamed: changed})))

"""Make a profile and the caller's keywords into the options of a backend; errors say whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from checkmaite_core.backend import JobBackendPlugin, load_backend_plugin, parse_options
from checkmaite_core.errors import ConfigurationError, PluginError, UnknownOptionError
from checkmaite_core.profiles._blaming import culprit, problems_of
from checkmaite_core.profiles._profile import Profile

__all__ = ["ResolvedProfile", "resolve_profile"]


class ResolvedProfile(NamedTuple):
    """What a backend is opened with.

    Attributes:
        kind: The backend's name.
        plugin: The backend.
        options: An instance of the plugin's ``options``.
    """

    kind: str
    plugin: JobBackendPlugin
    options: BaseModel


def resolve_profile(
    profile: Profile, options: Mapping[str, Any] | None = None, *, kind: str | None = None
) -> ResolvedProfile:
    """A profile's options, and keywords that win over them.

    A keyword replaces the profile's option whole. Only a ``runtime_env`` is added to the profile's: its keys, and the
    variables in ``env_vars``, win one by one, so that a user's ``working_dir`` does not drop what the platform sets.

    Args:
        profile: The profile.
        options: The keywords.
        kind: Another backend than the profile's.

    Raises:
        PluginError: The backend is not installed or cannot be loaded.
        UnknownOptionError: The backend has no such option.
        ConfigurationError: A value cannot be understood. The message of each has the file and the line, if it is the
            profile that is wrong.
    """
    given = dict(options or {})
    plugin = _plugin(profile, kind)
    name = kind or profile.kind
    for option in profile.options:
        if option not in plugin.options.model_fields and option not in given:
            _refuse_unknown(profile, name, plugin, option)

    def parse(ours: Mapping[str, Any]) -> BaseModel:
        return parse_options(name, plugin, _merged(ours, given))

    try:
        return ResolvedProfile(name, plugin, parse(profile.options))
    except ConfigurationError as error:
        found = error.__context__  # suppressed in tracebacks, as what pydantic says may show values
        if isinstance(found, ValidationError):
            problems = problems_of(found, profile, given)
            if not any(problem.of_profile for problem in problems):
                raise
            message = f"the {name} backend cannot use profile {profile.name!r}: {'; '.join(map(str, problems))}."
        else:
            keys = culprit(profile.options, parse, error)
            if not keys:
                raise
            message = f"{profile.place(*keys)}: {error.message}"
        raise ConfigurationError(message, hint=error.hint) from None


def _plugin(profile: Profile, kind: str | None) -> JobBackendPlugin:
    if kind is not None:
        return load_backend_plugin(kind)
    try:
        return load_backend_plugin(profile.kind)
    except PluginError as error:
        raise type(error)(f"{profile.place('backend')}: {error.message}", hint=error.hint) from error.__cause__


def _refuse_unknown(profile: Profile, kind: str, plugin: JobBackendPlugin, option: str) -> None:
    try:
        parse_options(kind, plugin, {option: None})
    except UnknownOptionError as error:
        raise UnknownOptionError(f"{profile.place(option)}: {error.message}", hint=error.hint) from None


def _merged(ours: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**ours, **given}
    if "runtime_env" in ours and "runtime_env" in given:
        merged["runtime_env"] = _added(ours["runtime_env"], given["runtime_env"], deeper="env_vars")
    return merged


def _added(ours: Any, given: Any, *, deeper: str = "") -> Any:
    if not isinstance(ours, Mapping) or not isinstance(given, Mapping):
        return given
    added = {**ours, **given}
    if deeper in ours and deeper in given:
        added[deeper] = _added(ours[deeper], given[deeper])
    return added

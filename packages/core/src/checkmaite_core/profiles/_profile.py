"""One profile: what a platform team hands out, checked, and made into a backend's options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from checkmaite_core.backend import explain
from checkmaite_core.errors import ConfigurationError
from checkmaite_core.profiles._lines import KeyPath
from checkmaite_core.profiles._reading import ProfileFile
from checkmaite_core.profiles._secrets import secrets_in
from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["Profile", "make_profile"]

_NO_SECRETS = (
    "Take it out: a profile is handed out, and shown. Give it to clients and workers by their environment, such as "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a workload identity, or a file of credentials that is named here."
)
# A relative path in a file is meant from there, wherever its reader stands.
_PATHS = (
    ("analytics_store", "uri"),
    ("ledger", "uri"),
    ("runtime_env", "working_dir"),
    ("runtime_env", "py_modules"),
    ("runtime_env", "pip"),
    ("runtime_env", "uv"),
)
_LISTS_OF_PATHS = {"py_modules"}


@dataclass(frozen=True, slots=True)
class Profile:
    """One ``[profiles.NAME]`` of a ``checkmaite.toml``.

    Attributes:
        name: Its name.
        file: The file that it stands in.
        kind: The job backend, such as ``ray``.
        options: Keyword arguments for that backend, such as ``address`` and ``runtime_env``; paths are absolute.
        analytics_store: Where results go; None if the profile leaves that open.
    """

    name: str
    file: Path
    kind: str
    options: Mapping[str, Any] = field(repr=False)
    analytics_store: AnalyticsStoreConfig | None
    _source: ProfileFile = field(repr=False, compare=False)

    def place(self, *keys: str | int) -> str:
        """``FILE:LINE`` of an option, or of a part of one; of the profile's beginning if it is not in the file."""
        return self._source.place(self.name, keys)


def make_profile(source: ProfileFile, name: str) -> Profile:
    """Check one profile of a file, except for what only its backend can tell.

    Raises:
        ConfigurationError: It cannot be used, or holds a secret; the message has the file and the line.
    """
    table = source.profiles[name]
    if not isinstance(table, dict):
        raise ConfigurationError(
            f"{source.place(name)}: profile {name!r} is not a table.",
            hint=f"Write [profiles.{name}] above its options.",
        )
    for keys in secrets_in(table):
        raise ConfigurationError(
            f"{source.place(name, keys)}: {_dotted(keys)} of profile {name!r} holds a secret (not shown).",
            hint=_NO_SECRETS,
        )
    kind = table.get("backend")
    if not isinstance(kind, str):
        raise ConfigurationError(
            f"{source.place(name, ('backend',))}: profile {name!r} does not say its job backend.",
            hint='Add backend = "ray" or backend = "ray-simple".',
        )
    options = _with_absolute_paths(table, source.path.parent)
    del options["backend"]
    return Profile(
        name=name,
        file=source.path,
        kind=kind,
        analytics_store=_store(source, name, options.pop("analytics_store", None)),
        options=options,
        _source=source,
    )


def _store(source: ProfileFile, name: str, given: Any) -> AnalyticsStoreConfig | None:
    if given is None:
        return None
    try:
        return AnalyticsStoreConfig.model_validate(given)
    except ValidationError as error:
        keys: KeyPath = ("analytics_store", *error.errors(include_input=False, include_url=False)[0]["loc"])
        raise ConfigurationError(
            f"{source.place(name, keys)}: analytics_store of profile {name!r} cannot be used: {explain(error)}.",
            hint=f'Write [profiles.{name}.analytics_store] with uri = "s3://bucket/results", or a folder that '
            "all nodes share.",
        ) from None


def _with_absolute_paths(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    changed = dict(table)
    for outer, inner in _PATHS:
        values = changed.get(outer)
        if isinstance(values, dict) and inner in values:
            changed[outer] = {**values, inner: _absolute(values[inner], folder, each=inner in _LISTS_OF_PATHS)}
    return changed


def _absolute(value: Any, folder: Path, *, each: bool) -> Any:
    if isinstance(value, list) and each:
        return [_absolute(item, folder, each=False) for item in value]
    if not isinstance(value, str) or not value or "://" in value or value[:5].lower() == "file:":
        return value
    return str(folder / os.path.expanduser(value))


def _dotted(keys: KeyPath) -> str:
    return ".".join(map(str, keys))

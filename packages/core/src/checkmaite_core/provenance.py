"""Who ran what, where, on whose behalf: resolved once, when work is submitted."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from checkmaite_core._cells import encodable
from checkmaite_core.errors import ConfigurationError
from checkmaite_core.evolving import Given

__all__ = ["Provenance", "configure_provenance", "resolve_provenance", "utc_now"]

ENVIRONMENT_PREFIX = "CHECKMAITE_PROVENANCE_"


def utc_now() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(UTC)


def _as_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time without a time zone; use datetime.now(timezone.utc)")
    return value.astimezone(UTC)


UtcTime = Annotated[datetime, AfterValidator(_as_utc)]
_Name = Annotated[str, Field(min_length=1, max_length=1024), BeforeValidator(encodable)]


class Provenance(Given):
    """Where a run comes from. Every field is a column of the store's ``runs`` table.

    Attributes:
        user_id: Who asked for it.
        workspace_id: The project or experiment it belongs to.
        environment: Such as ``dev`` or ``prod``.
        executor: What ran it, such as a CI system's name.
        cluster_id: The cluster it ran on.
        request_id: The caller's own correlation id.
        job_id: The job, if it was one; set by the backend.
        backend: The job backend's name; set by the backend.
        submitted_at: When it was submitted (UTC); set by the backend.
        completed_at: When the capability had returned (UTC); set by the backend.
        recovers: The job that computed these results, and could not store them, where another one has stored them.
    """

    user_id: _Name | None = None
    workspace_id: _Name | None = None
    environment: _Name | None = None
    executor: _Name | None = None
    cluster_id: _Name | None = None
    request_id: _Name | None = None
    job_id: _Name | None = None
    backend: _Name | None = None
    submitted_at: UtcTime | None = None
    completed_at: UtcTime | None = None
    recovers: _Name | None = None


_CONFIGURABLE = ("user_id", "workspace_id", "environment", "executor", "cluster_id", "request_id")

_lock = threading.Lock()
_configured: dict[str, str] = {}


def configure_provenance(
    *,
    user_id: str | None = None,
    workspace_id: str | None = None,
    environment: str | None = None,
    executor: str | None = None,
    cluster_id: str | None = None,
    request_id: str | None = None,
) -> Provenance:
    """Set this process's provenance; what is left out falls back to the environment.

    Each call replaces the one before. A field that is not given here is read, at submission, from the
    variable ``CHECKMAITE_PROVENANCE_<FIELD>``, such as ``CHECKMAITE_PROVENANCE_USER_ID``.

    Returns:
        The provenance that a submission made now would carry.

    Raises:
        ConfigurationError: A value is empty, longer than 1024 characters, or no text.
    """
    given = {
        "user_id": user_id,
        "workspace_id": workspace_id,
        "environment": environment,
        "executor": executor,
        "cluster_id": cluster_id,
        "request_id": request_id,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    _checked(chosen)  # refuse bad values before they replace good ones
    with _lock:
        _configured.clear()
        _configured.update(chosen)
    return resolve_provenance()


def resolve_provenance() -> Provenance:
    """The provenance in force now: what was configured, else what the environment says."""
    with _lock:
        values = dict(_configured)
    for name in _CONFIGURABLE:
        from_environment = os.environ.get(_variable(name))
        if from_environment and name not in values:
            values[name] = from_environment
    return _checked(values)


def _checked(values: Mapping[str, str]) -> Provenance:
    try:
        return Provenance.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise ConfigurationError(
            f"provenance {name} cannot be used: {first['msg']}.",
            hint=f"Pass a text of 1 to 1024 characters to configure_provenance, or set {_variable(name)} to one.",
        ) from None


def _variable(name: str) -> str:
    return ENVIRONMENT_PREFIX + name.upper()

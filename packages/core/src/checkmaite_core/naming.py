"""Names that become keys: checked once, here, before they reach a path or SQL."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from checkmaite_core._cells import NotExactError, check_unicode
from checkmaite_core.errors import RunContractError

__all__ = [
    "check_event_id",
    "check_probe_token",
    "check_run_uid",
    "check_table_name",
    "check_text",
    "compute_run_uid",
    "new_job_id",
    "new_probe_token",
]

RESERVED_TABLES = frozenset({"runs"})
"""Tables that the store writes itself."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_TABLE = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
_PROBE_TOKEN = re.compile(r"[0-9a-f]{32}\Z")


def check_run_uid(value: object) -> str:
    """Return ``value`` if it can serve as the identity of a run and as part of an object's key.

    Raises:
        RunContractError: It is not a string of 1 to 128 letters, digits, ``.``, ``_`` and ``-``
            that starts with a letter or digit.
    """
    return _check_key(value, "run_uid")


def check_event_id(value: object) -> str:
    """Return ``value`` if it can serve as an event's key; the rule is that of :func:`check_run_uid`."""
    return _check_key(value, "event id")


def _check_key(value: object, what: str) -> str:
    if isinstance(value, str) and _KEY.match(value) and ".." not in value:
        return value
    raise RunContractError(
        f"{what} {value!r} cannot be used as a key.",
        hint="Use 1 to 128 letters, digits, '.', '_' and '-', beginning with a letter or digit; a SHA-256 hex "
        "digest is a good one.",
    )


def check_table_name(value: object) -> str:
    """Return ``value`` if it can name a table of records.

    Raises:
        RunContractError: It is reserved, or not a lower-case letter followed by at most 62 lower-case
            letters, digits and underscores.
    """
    if not isinstance(value, str) or not _TABLE.match(value):
        raise RunContractError(
            f"table name {value!r} cannot be used.",
            hint="Use a lower-case letter followed by at most 62 lower-case letters, digits and underscores.",
        )
    if value in RESERVED_TABLES:
        raise RunContractError(
            f"table name {value!r} is reserved for the store's own table.",
            hint=f"Give the record another table_name than {', '.join(sorted(RESERVED_TABLES))}.",
        )
    return value


def check_text(value: str, what: str) -> str:
    """Return ``value`` if it can be stored.

    Args:
        value: A text, such as an id.
        what: What it is, for the error.

    Raises:
        RunContractError: It holds a lone surrogate.
    """
    try:
        return check_unicode(value)
    except NotExactError as error:
        raise RunContractError(f"{what} cannot be used: {error.why}", hint=error.hint) from None


def compute_run_uid(capability_id: str, config: Mapping[str, Any], inputs: Mapping[str, Sequence[str]]) -> str:
    """Identity of a run: SHA-256 (hex) over what was run, how, and on what.

    Args:
        capability_id: The capability's id.
        config: Its configuration as JSON-able values.
        inputs: Ids by kind (``models``, ``datasets``, ``metrics``), in the order they were given.

    The digest is taken over canonical JSON (sorted keys, no spaces, UTF-8), so it is the same in every
    process and on every platform.

    Raises:
        RunContractError: An id cannot be encoded.
    """
    document = {
        "capability": capability_id,
        "config": config,
        "inputs": {kind: list(ids) for kind, ids in inputs.items()},
    }
    for kind, ids in inputs.items():
        for one in ids:
            check_text(one, f"an id among the {kind}")
    check_text(capability_id, "capability_id")
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


def new_job_id() -> str:
    """A new job id: milliseconds since 1970 and 80 random bits, so that ids sort roughly by age.

    The order is a convenience for people; no rule rests on it, since clients' clocks differ.
    """
    return f"job-{time.time_ns() // 1_000_000:012x}-{secrets.token_hex(10)}"


def new_probe_token() -> str:
    """A new token for one probe of a result store: 32 random hex digits, so that no two probes meet."""
    return secrets.token_hex(16)


def check_probe_token(value: object) -> str:
    """Return ``value`` if it can name a probe.

    Raises:
        RunContractError: It is not a string of 32 lower-case hex digits.
    """
    if isinstance(value, str) and _PROBE_TOKEN.match(value):
        return value
    raise RunContractError(f"{value!r} cannot name a probe.", hint="Make one with new_probe_token().")

"""Where the ledger of a scope lies."""

from __future__ import annotations

import re

from checkmaite_core.errors import ConfigurationError
from checkmaite_storage import ObjectStore

__all__ = ["PAYLOADS", "check_scope", "payload_epoch", "payload_key", "prefix_of", "scopes_of"]

JOBS = "jobs/"
PAYLOADS = "payloads/"
_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_PAYLOAD = re.compile(r"payloads/e(?P<epoch>[0-9]+)/[0-9a-f]{64}-[0-9]+\Z")


def check_scope(scope: object) -> str:
    """Return ``scope`` if it can name a scope.

    Raises:
        ConfigurationError: It cannot.
    """
    if isinstance(scope, str) and _SCOPE.match(scope) and ".." not in scope:
        return scope
    raise ConfigurationError(
        f"{scope!r} cannot name a scope.",
        hint="Use 1 to 100 letters, digits, '.', '_' and '-', beginning with a letter or digit, without '..'; "
        "such as the name of the experiment: 'robustness-2026'.",
    )


def prefix_of(scope: str) -> str:
    """What the keys of a scope's ledger begin with."""
    return f"{JOBS}{check_scope(scope)}/"


def scopes_of(objects: ObjectStore) -> list[str]:
    """The scopes that have a ledger here, sorted."""
    names = {info.key.split("/")[1] for info in objects.list(JOBS) if info.key.split("/")[2:3] == ["epochs"]}
    return sorted(names)


def payload_key(epoch: int, sha256: str, number: int) -> str:
    """The key, below the scope's prefix, of a submission that is an object of its own.

    The epoch is in it, so that what one incarnation deletes late can never be what a later one has written.
    """
    return f"{PAYLOADS}e{epoch}/{sha256}-{number}"


def payload_epoch(key: str) -> int | None:
    """The epoch in such a key; None if it is none."""
    match = _PAYLOAD.match(key)
    return int(match["epoch"]) if match else None

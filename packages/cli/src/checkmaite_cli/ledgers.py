"""Opening the ledger that a command names: the history of the jobs of one scope."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from checkmaite_cli.invocation import as_typed
from checkmaite_core.errors import ConfigurationError, ObjectNotFoundError
from checkmaite_core.location import canonical_uri

if TYPE_CHECKING:
    from checkmaite_ledger import JobLedger, JobRecord

__all__ = ["as_options", "everything", "opened_ledger"]


def opened_ledger(store: str | None, ledger: str | None, scope: str | None) -> JobLedger:
    """The ledger of a scope, to be read. No cluster is asked, and nothing is created.

    Args:
        store: The analytics store, under whose location the ledger lies by default.
        ledger: Where it lies otherwise.
        scope: Whose jobs.

    Raises:
        ConfigurationError: Neither location was given, or no scope; the scopes that there are are named.
        ObjectNotFoundError: Nothing is there, or not this scope.
        StorageError: It cannot be read.
    """
    from checkmaite_ledger import JobLedger, scopes

    given = ledger or store
    if given is None:
        raise ConfigurationError(
            "where the ledger lies was not said.",
            hint="Add --store URI (the analytics store that the jobs wrote to), or --ledger URI if it lies elsewhere.",
        )
    uri = canonical_uri(given)
    there = scopes(uri)
    if not there:
        raise ObjectNotFoundError(
            f"there is no ledger of jobs at {uri}.",
            hint='Check the location. The "ray" backend writes one under its analytics store, or where its option '
            '"ledger" says; "ray-simple" writes none.',
            uri=uri,
        )
    if scope is None:
        raise ConfigurationError(f"whose jobs was not said; {_listed(there)}.", hint=f"Add --scope {there[0]}")
    if scope not in there:
        raise ObjectNotFoundError(
            f"the ledger at {uri} has no scope {scope!r}; {_listed(there)}.",
            hint="Check --scope: it is the idempotency_scope of the clients that submitted the jobs.",
            uri=uri,
        )
    return JobLedger(uri, scope)


def everything(ledger: JobLedger) -> Sequence[JobRecord]:
    """All of its jobs, newest first, in one reading."""
    return ledger.jobs(limit=sys.maxsize).records


def as_options(store: str | None, ledger: str | None, scope: str | None) -> str:
    """The same options as they are typed in the current folder."""
    place = f"--ledger {as_typed(ledger)}" if ledger else f"--store {as_typed(store or '')}"
    return f"{place} --scope {scope}"


def _listed(scopes: list[str]) -> str:
    return f"the scope there is {scopes[0]}" if len(scopes) == 1 else f"the scopes there are {', '.join(scopes)}"

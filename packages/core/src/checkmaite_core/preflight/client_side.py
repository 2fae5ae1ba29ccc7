"""What a preflight looks at from the client: its environment, its inputs' locations, the store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from checkmaite_core.deployment import Environment, describe_environment
from checkmaite_core.naming import new_probe_token
from checkmaite_core.preflight.checks import Check
from checkmaite_core.preflight.conclusions import elsewhere
from checkmaite_core.preflight.inquiry import LocationFacts
from checkmaite_core.preflight.site import SiteNode
from checkmaite_core.preflight.storage import explain_store, is_local, path_of, shown
from checkmaite_core.preflight.trials import Trial, values_of
from checkmaite_core.store import AnalyticsStoreConfig, open_result_store

__all__ = ["client_environments", "locations_of", "read_back"]

_MOST_LOCATIONS = 200
"""More would take longer than a preflight may; a few show as well whether workers reach what the jobs need."""


def client_environments(trials: Sequence[Trial]) -> list[Environment]:
    """This environment as each of the jobs would carry it, equal ones once; the first with all that is installed."""
    found = {trial.environment.model_dump_json(): trial.environment for trial in trials}
    first, *others = list(found.values()) or [describe_environment()]
    whole = describe_environment(whole=True)
    return [first.model_copy(update={"distributions": whole.distributions, "tools": whole.tools}), *others]


def locations_of(trials: Sequence[Trial]) -> tuple[list[LocationFacts], list[Check]]:
    """What the inputs say that a worker must be able to read, each once, and what is wrong with their saying."""
    found: dict[str, LocationFacts] = {}
    checks = []
    for trial in trials:
        for place, value in values_of(trial.payload.inputs):
            try:
                named = _named(value)
            except Exception as error:  # the user's method: whatever it raises is reported
                checks.append(_unnamed(f"{place} of {trial.name}", value, error))
                continue
            for location in named:
                found.setdefault(location, LocationFacts(location=location, on_client=_on_client(location)))
    known = list(found.values())
    if len(known) > _MOST_LOCATIONS:
        checks.append(_sampled(len(known)))
        step = len(known) / _MOST_LOCATIONS
        known = [known[int(index * step)] for index in range(_MOST_LOCATIONS)]
    return known, checks


def _sampled(count: int) -> Check:
    found = f"{_MOST_LOCATIONS} of {count} are looked at, evenly spread"
    return Check(section="inputs", subject="locations", level="note", node="client", found=found)


def _named(value: Any) -> list[str]:
    ask = getattr(value, "locations", None)
    return [str(location) for location in ask()] if callable(ask) else []


def _unnamed(subject: str, value: Any, error: Exception) -> Check:
    return Check(
        section="inputs",
        subject=subject,
        level="warning",
        node="client",
        found=f"its locations() cannot be used: {type(error).__name__}: {error}",
        mender="client",
        remedy=f"let {type(value).__qualname__}.locations() return a list of paths or URIs",
    )


def _on_client(location: str) -> bool | None:
    return os.path.exists(path_of(location)) if is_local(location) else None


def read_back(store: AnalyticsStoreConfig, stored: Sequence[tuple[SiteNode, str]], *, several: bool) -> list[Check]:
    """Look from here for what the workers have left in the store, and remove it.

    Args:
        store: Where results go.
        stored: The nodes that have left something, and under which token.
        several: Whether the cluster has more than one node.
    """
    subject = shown(store.uri)
    try:
        opened = open_result_store(store)
        try:
            missing = [node for node, token in stored if not opened.has_probe(token)]
            if not stored:
                opened.has_probe(new_probe_token())
            for _, token in stored:
                opened.remove_probe(token)
        finally:
            opened.close()
    except Exception as error:  # a store is a plugin: whatever it raises is reported
        trouble = explain_store(error, store.backend, on_client=True)
        return [
            Check(
                section="store",
                subject=subject,
                level="error",
                node="client",
                found=trouble.found,
                mender=trouble.mender,
                remedy=trouble.remedy,
            )
        ]
    checks = [elsewhere(store.uri, several=several).model_copy(update={"node": node.name}) for node in missing]
    seen = len(stored) - len(missing)
    if seen:
        found = "finds what the worker has written" if seen == 1 else f"finds what {seen} workers have written"
        checks.append(Check(section="store", subject=subject, level="ok", node="client", found=found))
    elif not stored:
        found = "can be read; no worker has written anything to be found"
        checks.append(Check(section="store", subject=subject, level="note", node="client", found=found))
    return checks

"""What a registry does now and then: say why jobs wait, have stores and the ledger put in order, let controllers go."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Protocol

import ray

from checkmaite_core.errors import CheckmaiteError, SealedError
from checkmaite_core.job import JobStatus
from checkmaite_core.location import place_of
from checkmaite_core.preflight.capacity import amounts_text, fits
from checkmaite_ledger import JobRecord
from checkmaite_ledger.directory import Directory
from checkmaite_ray.protocol import Blob
from checkmaite_ray.roster import Roster
from checkmaite_ray.settings import RegistrySettings

__all__ = ["Upkeep", "waits_for"]

_LOOK = 1.0
"""Seconds between two looks."""
_LEDGER = 10.0
"""Seconds between two times that the ledger is looked after."""
_CLUSTER = 5.0
"""Seconds between two looks at how large the cluster is."""
_TASKS_PER_CPU = 2
"""Jobs of one shape that are handed out for each CPU, so that none waits for the registry."""
_BUSY = 50
"""Commits between two looks from which on a store is not put in order yet: that would take CPUs from the jobs."""
_AT_LAST = 10
"""Times as many commits as otherwise that may wait for that then."""
_PATIENCE = 1.0
"""Seconds that a job may wait before anyone asks why."""
_GIB = 2**30


@dataclass
class _Store:
    """A store that jobs of this registry have written to, and the last of them."""

    submission: bytes
    commits: int = 0
    since_last: int = 0
    since_look: int = 0

    def due(self, after: int) -> bool:
        """Whether enough has been written for it to be put in order now; to be asked at every look."""
        busy, self.since_look = self.since_look >= _BUSY, 0
        return self.since_last >= (after * _AT_LAST if busy else after)


class Household(Protocol):
    """What the chores are done for, and with (see :class:`checkmaite_ray.reign.Reign`)."""

    directory: Directory
    roster: Roster
    number: int
    problem: str | None

    @property
    def ledger_uri(self) -> str: ...
    def complete(self, order: str, store_uri: str) -> str: ...
    def end(self, error: Exception) -> None: ...
    def prune(self) -> None: ...
    async def shorten_ledger(self) -> None: ...
    async def check_ledger(self) -> None: ...
    def tell_why(self, job_id: str, reason: str) -> None: ...
    def waiting_jobs(self, patience: float) -> list[tuple[JobRecord, bool]]: ...
    def warn(self, uri: str, failure: str) -> None: ...


class Upkeep:
    """Chores of one reign.

    Args:
        reign: Whose.
        settings: How often.
    """

    def __init__(self, reign: Household, settings: RegistrySettings) -> None:
        self._reign = reign
        self._settings = settings
        self.reasons: dict[str, str] = {}
        self._stores: dict[str, _Store] = {}
        self._idle_since: float | None = None
        self._ledger_due = time.monotonic() + _LEDGER
        self._looked_at = 0
        self._cluster_due = 0.0

    def ended(self, record: JobRecord, submission: bytes | None) -> None:
        """A job has; its submission, if it is in memory, says how to reach its store."""
        self.reasons.pop(record.job_id, None)
        if record.status is not JobStatus.COMPLETED:
            return
        place = place_of(record.store_uri)
        store = self._stores.get(place)
        if submission is not None:
            store = self._stores.setdefault(place, _Store(submission))
            store.submission = submission
        if store is not None:
            store.commits += 1
            store.since_last += 1
            store.since_look += 1

    async def run(self) -> None:
        """Until the reign ends."""
        while True:
            for chore in (
                self._fit_the_cluster,
                self._say_why_jobs_wait,
                self.look_after_the_ledger,
                self.look_after_stores,
                self._let_controllers_go,
            ):
                try:
                    await chore()
                except SealedError as error:
                    self._reign.end(error)
                except CheckmaiteError as error:
                    self._reign.warn(self._reign.ledger_uri, str(error))
                except ray.exceptions.RayError:
                    pass  # the GCS does not answer at the moment
            self._reign.prune()
            await asyncio.sleep(_LOOK)

    async def _fit_the_cluster(self) -> None:
        if time.monotonic() >= self._cluster_due:
            total, _, _ = await asyncio.get_running_loop().run_in_executor(None, _resources)
            self._reign.directory.widen(max(self._settings.window, _TASKS_PER_CPU * int(total.get("CPU", 0))))
            self._cluster_due = time.monotonic() + _CLUSTER

    async def look_after_the_ledger(self) -> None:
        """Have it shortened if need be. If nothing has been written for a while, look whether it is still ours."""
        if time.monotonic() < self._ledger_due:
            return
        if self._reign.number != self._looked_at:
            self._looked_at = self._reign.number
            await self._reign.shorten_ledger()
        else:
            await self._reign.check_ledger()
        self._ledger_due = time.monotonic() + _LEDGER

    async def look_after_stores(self) -> None:
        """Have stores put in order to which enough has been written."""
        after = self._settings.maintain_after
        for uri, store in self._stores.items():
            if after and store.due(after):
                await self._maintain(uri, store, after)

    async def put_stores_in_order(self) -> dict[str, str]:
        """Have every store put in order now; returns what stood in the way, by store."""
        failures = {}
        for uri, store in self._stores.items():
            if self._settings.maintain_after and store.commits:
                failure = await self._maintain(uri, store, 1)
                if failure is not None:
                    failures[uri] = failure
        return failures

    async def _maintain(self, uri: str, store: _Store, at_least: int) -> str | None:
        store.since_last = 0
        commits, store.commits = store.commits, 0
        last = Blob.unpack(store.submission)
        failure = await self._reign.roster.maintain(self._reign.complete(last.order, uri), last.overlay, at_least)
        if failure is not None or at_least > 1:
            store.commits += commits
        if failure is not None:
            self._reign.warn(uri, failure)
        return failure

    async def _let_controllers_go(self) -> None:
        if self._reign.directory.unfinished or self._reign.roster.empty:
            self._idle_since = None
            return
        now = time.monotonic()
        if self._idle_since is None:
            self._idle_since = now
        if now - self._idle_since >= self._settings.idle_seconds:
            await self.put_stores_in_order()
            if not self._reign.directory.unfinished:
                self._reign.roster.retire()
            self._idle_since = None

    async def _say_why_jobs_wait(self) -> None:
        waiting = self._reign.waiting_jobs(_PATIENCE)
        if not waiting:
            return
        loop = asyncio.get_running_loop()
        total, free, nodes = await loop.run_in_executor(None, _resources)
        texts: dict[str, str | None] = {}
        for record, queued in waiting:
            if record.shape not in texts:
                texts[record.shape] = self._reign.problem or waits_for(record.demand, total, free, nodes)
            text = texts[record.shape]
            if queued:
                ahead = f"{self._settings.window} jobs that ask for the same are before it"
                text = ahead if text is None else f"{ahead}; the first {text}"
            if text is not None and self.reasons.get(record.job_id) != text:
                self.reasons[record.job_id] = text
                self._reign.tell_why(record.job_id, text)


def _resources() -> tuple[dict[str, float], dict[str, float], list[dict[str, float]]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    return total, free, alive


def waits_for(
    demand: dict[str, float], total: dict[str, float], free: dict[str, float], nodes: list[dict[str, float]]
) -> str | None:
    """Why a demand is not met now.

    Args:
        demand: What a job asks for, by Ray's names of resources.
        total: What the cluster has.
        free: What of it is not in use.
        nodes: What each node has.

    Returns:
        Such as ``waits for 1 GPU: 2 in the cluster, 2 in use``; None if it could be met.
    """
    if not any(fits(node, demand) for node in nodes):
        return f"waits for a node with {amounts_text(demand)}: no node has that now"
    lacking = [
        f"{amounts_text({name: amount})}: {_number(name, total.get(name, 0))} in the cluster, "
        f"{_number(name, total.get(name, 0) - free.get(name, 0))} in use"
        for name, amount in demand.items()
        if free.get(name, 0) < amount
    ]
    return f"waits for {', '.join(lacking)}" if lacking else None


def _number(name: str, amount: float) -> str:
    return f"{amount / _GIB:.3g} GiB" if name == "memory" else f"{round(amount, 4):g}"

"""The registry: one detached actor for each scope. A thin shell around :class:`checkmaite_ray.reign.Reign`."""

from __future__ import annotations

import asyncio
import json
import os
import time
import traceback
from datetime import UTC, datetime
from typing import Any

import ray

from checkmaite_core.defects import explained
from checkmaite_core.errors import CheckmaiteError, ClusterError, ScopeInUseError, ScopeSealedError, SealedError
from checkmaite_ledger.listing import page_of
from checkmaite_ledger.writer import open_ledger
from checkmaite_ray import store_options
from checkmaite_ray.archive import PackageArchive
from checkmaite_ray.claiming import claim
from checkmaite_ray.identity import cluster_identity
from checkmaite_ray.protocol import PROTOCOL, problem
from checkmaite_ray.reign import Reign
from checkmaite_ray.sessions import Sessions
from checkmaite_ray.settings import LedgerConfig, RegistrySettings

__all__ = ["Registry"]

_AGAIN = 1.0
"""Seconds after which a registry whose ledger failed tries to go on."""


# Calls in flight when its process dies are made again once it is back, and all of them may be: accepting is idempotent
# by the job id that the client made, the others by nature.
@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=100_000)  # type: ignore[call-overload]
class Registry:
    """Accepts jobs, keeps their history, has them run, and tells clients.

    Args:
        scope: Whose jobs.
        ledger: A :class:`LedgerConfig` as JSON.
        settings: A :class:`RegistrySettings` as JSON.
        placement: Ray options that say where controllers run.
        takeover: Take the scope over from a cluster that may be alive.
        options: Storage options by store URI.
    """

    def __init__(
        self,
        scope: str,
        ledger: str,
        settings: str,
        placement: dict[str, Any],
        takeover: bool,
        options: dict[str, dict[str, Any]],
    ) -> None:
        self._scope = scope
        self._ledger_config = LedgerConfig.model_validate_json(ledger)
        self._settings = RegistrySettings.model_validate_json(settings)
        self._placement = placement
        self._takeover = takeover
        self._options = store_options.by_place({**options, **store_options.recall(scope)})
        self._sessions = Sessions()
        self._reign: Reign | None = None
        self._problem: CheckmaiteError | None = None
        self._incarnation = os.urandom(8).hex()
        self._starting = asyncio.get_running_loop().create_task(self._start())

    async def hello(self, document: str) -> str:
        """The first call of every client. Its form never changes: a JSON object in, a JSON object out.

        In: ``protocol``, ``session``, ``options`` (storage options by store URI), ``takeover``. Out: ``protocol``,
        and either ``problem`` or who this registry is.
        """
        given = json.loads(document)
        if given["protocol"] != PROTOCOL:
            return json.dumps({"protocol": PROTOCOL})
        offered = store_options.by_place(given["options"])
        news = {place: named for place, named in offered.items() if named and named != self._options.get(place)}
        if news:
            self._options.update(news)
            await asyncio.to_thread(store_options.remember, self._scope, self._options)
        if given.get("takeover"):
            self._takeover = True
            if self._problem is not None and self._starting.done():
                self._starting = asyncio.get_running_loop().create_task(self._start())
        elif isinstance(self._problem, ScopeInUseError | ScopeSealedError) and self._starting.done():
            self._starting = asyncio.get_running_loop().create_task(self._start())
        await asyncio.shield(self._starting)
        if self._reign is None:
            return json.dumps({"protocol": PROTOCOL, "problem": problem(self._why())})
        self._sessions.follow(given["session"], (), introduced=True)
        return json.dumps(
            {
                "protocol": PROTOCOL,
                "incarnation": self._incarnation,
                "ledger": self._ledger_config.uri,
                "pid": os.getpid(),
            }
        )

    async def submit(self, session: str, client: str, items: list[tuple[dict[str, Any], bytes]]) -> dict[str, Any]:
        """Accept work, all of it or none (see :meth:`Reign.submit`)."""
        try:
            reign = await self._serving()
            answers = await reign.submit(session, client, items)
        except Exception as error:  # a boundary: the client is told, also of a defect of ours
            return {"problem": problem(self._explained(error))}
        if isinstance(answers, float):
            unfinished, limit = reign.directory.unfinished, self._settings.max_unfinished
            return {"retry_after": answers, "unfinished": unfinished, "limit": limit}
        return {"answers": answers}

    async def cancel(self, client: str, job_ids: list[str]) -> dict[str, Any]:
        """Ask for jobs to be stopped."""
        try:
            return {"answers": await (await self._serving()).cancel(client, job_ids)}
        except Exception as error:  # as in submit()
            return {"problem": problem(self._explained(error))}

    async def follow(self, session: str, job_ids: list[str], introduced: bool = False) -> dict[str, Any]:
        """Tell a client of these jobs from now on; what they are now, by id, without those that are not known.

        ``introduced``: they are all that it waits for, beside what it has named to this very process.
        """
        try:
            reign = await self._serving()
            found = {job_id: reign.describe(job_id) for job_id in job_ids}
            known = {job_id: what for job_id, what in found.items() if what is not None}
            unfinished = [job_id for job_id in known if not reign.published[job_id].ended]
            self._sessions.follow(session, unfinished, introduced=introduced)
        except Exception as error:  # as in submit()
            return {"problem": problem(self._explained(error))}
        return {"jobs": known}

    async def page(self, session: str, filters: dict[str, Any]) -> dict[str, Any]:
        """Jobs, newest first."""
        try:
            reign = await self._serving()
            since = filters.pop("since")
            when = None if since is None else datetime.fromtimestamp(since, UTC)
            page = page_of(reversed(reign.published.values()), since=when, **filters)
            self._sessions.follow(session, [record.job_id for record in page.records if not record.ended])
            found = {record.job_id: reign.describe(record.job_id) for record in page.records}
        except Exception as error:  # as in submit()
            return {"problem": problem(self._explained(error))}
        return {"jobs": found, "next": page.next_cursor}

    async def watch(self, session: str, heard: int) -> dict[str, Any]:
        """Wait for news of a client's jobs."""
        if self._reign is not None:
            self._reign.hurry(session)
        answer = await self._sessions.watch(session, heard)
        if self._problem is not None and self._reign is None:
            return {**answer, "problem": problem(self._why())}
        return answer

    async def maintain(self) -> dict[str, str]:
        """Put stores in order; returns what stood in the way, by store."""
        if self._reign is None:
            return {}
        return await self._reign.put_stores_in_order()

    async def leave(self, session: str) -> None:
        """A client goes."""
        self._sessions.close(session)

    async def about(self) -> dict[str, Any]:
        """What this process is and does, for operators and tests."""
        reign = self._reign
        return {
            "pid": os.getpid(),
            "incarnation": self._incarnation,
            "jobs": 0 if reign is None else len(reign.published),
            "unfinished": 0 if reign is None else reign.directory.unfinished,
            "sessions": len(self._sessions),
            "problem": None if self._problem is None else str(self._problem),
        }

    # Reigns.

    async def _serving(self) -> Reign:
        if not self._starting.done():
            await asyncio.shield(self._starting)
        if self._reign is None:
            raise self._why()
        return self._reign

    def _why(self) -> CheckmaiteError:
        return self._problem or ClusterError("the registry has not started.", hint="Try again.")

    def _explained(self, error: Exception) -> CheckmaiteError:
        if isinstance(error, SealedError):
            return self._sealed(error)
        if isinstance(error, ray.exceptions.RayError | ConnectionError) and not isinstance(error, CheckmaiteError):
            return self._failed(error)
        return explained(error, f"the registry served scope {self._scope!r}")

    def _sealed(self, error: Exception) -> ScopeSealedError:
        return ScopeSealedError(
            f"the registry of scope {self._scope!r} on this cluster has been superseded, and stopped: {error}",
            hint="Connect to the cluster that serves the scope now, or take it back with takeover=True.",
        )

    def _failed(self, error: Exception) -> ClusterError:
        return ClusterError(
            f"the registry of scope {self._scope!r} failed: {type(error).__name__}: {error}",
            hint="It tries to go on by itself. Its log is among Ray's on the node where it runs.",
        )

    async def _start(self) -> None:
        try:
            identity = await asyncio.to_thread(cluster_identity)
            who = {**identity.as_json(), "registry": self._incarnation, "pid": os.getpid(), "at": time.time()}
            objects = await asyncio.to_thread(open_ledger, self._ledger_config.uri, self._ledger_config.storage_options)
            ledger, same = await asyncio.to_thread(claim, objects, self._scope, who, self._takeover)
            archive = PackageArchive(objects, self._scope, ledger.epoch.number)
        except Exception as error:  # the ledger cannot be read or claimed: said to clients, and tried again
            self._problem = self._explained(error)
            if not isinstance(error, ScopeInUseError):
                self._try_again()
            return
        self._takeover = False
        self._problem = None
        self._reign = Reign(
            self._scope, ledger, archive, self._settings, self._placement, self._sessions, self._options, self._on_end
        )
        try:
            await self._reign.begin(same_cluster=same)
        except Exception as error:  # the ledger, Ray, or a defect: said to clients, and tried again
            self._reign.end(error)

    def _on_end(self, error: Exception) -> None:
        reign, self._reign = self._reign, None
        traceback.print_exception(error)  # into the actor's log; clients are told below
        self._problem = self._explained(error)
        if isinstance(error, SealedError):
            if reign is not None:
                reign.roster.stop()
            self._sessions.tell_all(("sealed",))
        else:
            self._try_again()

    def _try_again(self) -> None:
        asyncio.get_running_loop().call_later(_AGAIN, self._start_again)

    def _start_again(self) -> None:
        if self._starting.done() and self._reign is None:
            self._starting = asyncio.get_running_loop().create_task(self._start())

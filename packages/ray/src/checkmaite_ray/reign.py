"""One epoch of a scope: the job directory made durable, shared with clients, and acted on through controllers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from checkmaite_core.errors import CheckmaiteError, ClusterError, SealedError, StorageError, SubmissionError
from checkmaite_core.failure import FailureRecord
from checkmaite_core.job import JobStatus
from checkmaite_core.settling import pause_s
from checkmaite_ledger import JobRecord
from checkmaite_ledger.directory import (
    AttemptEnd,
    Cause,
    Change,
    Decision,
    Directory,
    Limits,
    Request,
)
from checkmaite_ledger.events import Accepted, AttemptFailed, Ended, Policy
from checkmaite_ledger.writer import LedgerWriter
from checkmaite_ray.actions import Actions
from checkmaite_ray.archive import PackageArchive
from checkmaite_ray.background import Background
from checkmaite_ray.committer import Committer
from checkmaite_ray.overlays import Overlays
from checkmaite_ray.protocol import Blob, wire_view
from checkmaite_ray.roster import Roster
from checkmaite_ray.sessions import Sessions
from checkmaite_ray.settings import RegistrySettings
from checkmaite_ray.submissions import Submissions
from checkmaite_ray.upkeep import Upkeep

__all__ = ["Reign"]

_INFORMATIVE = 1.0
"""Seconds that an event which nobody ever waits for may wait, to be written along with others."""
_UNHURRIED = 0.02
"""Seconds that the end of a job may wait while no client waits for it, as they are busy submitting more."""


class Reign:
    """What a registry does from the claim of an epoch until it loses it, or the ledger fails. On one event loop.

    Args:
        scope: Whose jobs.
        ledger: Claimed, with what had happened before.
        archive: Keeps packages beside it.
        settings: How the registry works.
        placement: Ray options that say where controllers run.
        sessions: The clients.
        options: Storage options by store URI, as clients have given them.
        on_end: Called once, with what ended it: ``SealedError`` if another registry has taken over, else what the
            ledger raised.
    """

    def __init__(
        self,
        scope: str,
        ledger: LedgerWriter,
        archive: PackageArchive,
        settings: RegistrySettings,
        placement: dict[str, Any],
        sessions: Sessions,
        options: dict[str, dict[str, Any]],
        on_end: Callable[[Exception], None],
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._sessions = sessions
        self._on_end = on_end
        self._appending = ThreadPoolExecutor(1, "ledger-append")
        self._reading = ThreadPoolExecutor(4, "ledger-read")
        self.directory = Directory(
            Limits(settings.max_unfinished, settings.window, settings.retry_after_seconds, settings.spread_after)
        )
        self.published: dict[str, JobRecord] = {}
        self._held_back: set[str] = set()
        self._overlays = Overlays(archive, self._on_overlay_problem)
        self._submissions = Submissions(ledger.submission, self._reading)
        self._upkeep = Upkeep(self, settings)
        self.number = 0
        self.problem: str | None = None
        self.roster = Roster(
            scope,
            settings.controllers,
            placement,
            ledger.epoch.number,
            on_up=self._on_up,
            on_down=self._on_down,
            on_messages=self._on_messages,
            on_fenced=self._on_fenced,
            on_problem=self._on_problem,
            on_resume=self._dispatch,
            on_error=self.end,
        )
        self._work = Background(self.end)
        self._actions = Actions(
            self.directory, self._submissions, self.roster, options, self._decided, self._unsettled, self._work
        )
        self._committer = Committer(ledger.append, self._appending, self._publish, self._actions.take, self.end)
        self._ended = False

    async def begin(self, *, same_cluster: bool) -> None:
        """Take up the work that there is."""
        records = self._ledger.records
        self.directory.restore(records)
        self.published = {record.job_id: record for record in records}
        self._ledger.forget_records()
        gc.unfreeze()
        gc.collect()
        gc.freeze()  # what has been replayed stays: looking through it again and again would hold up every answer
        await self._restore_overlays([record for record in records if not record.ended])
        self._commit(self.directory.reign(same_cluster=same_cluster, now=time.time()))
        if same_cluster:
            await self.roster.find(self.directory.awaited)
            for slot, incarnation in sorted({(r.slot, r.incarnation) for r in records if r.slot and not r.ended}):
                if not self.roster.has(slot, incarnation):
                    self._on_down(slot, incarnation)
        self._dispatch()
        for job_id in self._sessions.followed_jobs():  # of clients that were there before it
            record = self.published.get(job_id)
            if record is None:
                self._sessions.forget(job_id)  # it was to be accepted, and that could not be written down
            else:
                self._sessions.tell(job_id, ("view", *wire_view(record)), last=record.ended)
        self._work.spawn(self._upkeep.run())

    # What clients ask.

    async def submit(
        self, session: str, client: str, items: Sequence[tuple[dict[str, Any], bytes]]
    ) -> list[tuple[Any, str]] | float:
        """Accept work, all of it or none; each item is a request's fields and its packed blob.

        Returns:
            For each what a client is told of its job, and the origin; or after how many seconds to come back, if there
            is no room.
        """
        if len(items) > 1 and self.directory.unfinished + len(items) > self._settings.max_unfinished:
            self._refuse_what_never_fits(len(items))
            return self._settings.retry_after_seconds
        requests = [_request(fields) for fields, _ in items]
        decision, answers = self.directory.submit(requests, now=time.time())
        records = [answer.record for answer in answers if answer.record is not None]
        if len(records) < len(items):
            return answers[0].retry_after
        accepted = {change.record.job_id for change in decision.changes if isinstance(change.event, Accepted)}
        submissions = {}
        for request, (_, data) in zip(requests, items, strict=True):
            if request.job_id in accepted:
                self._submissions.keep(request.job_id, data, pinned=not request.stored)
                overlay = None if self._overlays.knows(request.shape) else Blob.unpack(data).overlay
                self._overlays.need(request.shape, overlay, archive=request.stored)
                submissions[request.job_id] = data if request.stored else _order_alone(data)
        self._sessions.follow(session, [record.job_id for record in records if not record.ended])
        done = self._committer.add(decision, submissions)
        self._dispatch()
        await asyncio.shield(done)
        return [
            (self.describe(record.job_id), str(answer.origin)) for record, answer in zip(records, answers, strict=True)
        ]

    def _refuse_what_never_fits(self, count: int) -> None:
        if count > self._settings.max_unfinished:
            raise SubmissionError(
                f"{count} works are more than the {self._settings.max_unfinished} that may be unfinished at a time.",
                hint="Submit fewer together.",
            )

    async def cancel(self, client: str, job_ids: Sequence[str]) -> list[bool | None]:
        """Ask for jobs to be stopped (see :meth:`Directory.cancel`)."""
        decision, answers = self.directory.cancel(job_ids, client=client, now=time.time())
        done = self._commit(decision)
        self._dispatch()
        await asyncio.shield(done)
        return answers

    def describe(self, job_id: str) -> dict[str, Any] | None:
        """What a client is told of a job that it meets for the first time."""
        record = self.published.get(job_id)
        if record is None:
            return None
        return {
            "name": record.name,
            "reason": record.reason,
            "submitted_at": record.submitted_at,
            "view": wire_view(record),
            "waits": self._upkeep.reasons.get(job_id),
            "waiting_for": record.waiting_for or None,
            "recovers": record.recovers or None,
        }

    # What is durable.

    def _commit(self, decision: Decision, *, within: float = 0.0) -> asyncio.Future[None]:
        return self._committer.add(decision, within=within)

    def hurry(self, session: str) -> None:
        """A client waits from now on: what it is to hear is not held back any more."""
        if self._sessions.follows(session, self._held_back):
            self._committer.hurry()

    def _publish(self, changes: Sequence[Change], number: int) -> None:
        self.number = number
        for change in changes:
            record, event = change.record, change.event
            before = self.published.get(record.job_id)
            self.published[record.job_id] = record
            if isinstance(event, Ended):
                self._upkeep.ended(record, self._submissions.at_hand(record.job_id))
                self._submissions.drop(record.job_id)
                self._overlays.done(record.shape)
            self._held_back.discard(record.job_id)
            if isinstance(event, Ended | AttemptFailed) and record.attempt:
                self.roster.forget(record.slot, record.incarnation, record.job_id, record.attempt)
            if (before.waiting_for if before is not None else "") != record.waiting_for:
                self._sessions.tell(record.job_id, ("waiting", record.job_id, record.waiting_for or None))
            if before is None or before.status is not record.status:
                self._sessions.tell(record.job_id, ("view", *wire_view(record)), last=record.ended)

    def end(self, error: Exception) -> None:
        """It cannot go on."""
        if not self._ended:
            self._close()
            self._on_end(error)

    def _close(self) -> None:
        self._ended = True
        self._committer.stop()
        self.roster.leave()
        self._overlays.close()
        self._work.cancel()
        self._appending.shutdown(wait=False)
        self._reading.shutdown(wait=False)

    # What controllers say.

    def _on_up(self, slot: str, incarnation: str, holding: list[tuple[str, int]]) -> None:
        self._commit(self.directory.controller_up(slot, incarnation, holding, now=time.time()))
        self._dispatch()

    def _on_down(self, slot: str, incarnation: str) -> None:
        self._commit(self.directory.controller_down(slot, incarnation, now=time.time()))
        self._dispatch()

    def _on_fenced(self) -> None:
        # A later registry of this cluster has spoken to the controllers; the next append will find its seal.
        self.end(ClusterError("a later registry of this scope commands its controllers.", hint="Connect again."))

    def _on_overlay_problem(self, error: Exception) -> None:
        self.problem = f"an overlay could not be kept in the cluster: {error}"

    async def _restore_overlays(self, unfinished: Sequence[JobRecord]) -> None:
        """After a restart: have the cluster keep, or get back, what unfinished jobs need."""
        for record in unfinished:
            overlay = None
            if record.stored and not self._overlays.knows(record.shape):
                with contextlib.suppress(CheckmaiteError):  # its start will say what is wrong with it
                    overlay = Blob.unpack(await self._submissions.get(record.job_id)).overlay
            kept = self._overlays.need(record.shape, overlay, archive=record.stored)
            if kept is not None:
                await asyncio.wait([kept])
        self._overlays.sweep()

    def _on_problem(self, problem: str | None) -> None:
        self.problem = problem

    def _on_messages(self, slot: str, messages: Sequence[tuple[Any, ...]]) -> asyncio.Future[None]:
        ended = False
        undecided: dict[str, str] = {}
        for kind, job_id, *rest in messages:
            if kind == "ended":
                attempt, outcome, failure, cause, begun = rest
                end = AttemptEnd(
                    outcome,
                    None if failure is None else FailureRecord.model_validate_json(failure),
                    None if cause is None else Cause(cause),
                    begun,
                )
                self._on_end_of(job_id, self.directory.attempt_ended(job_id, attempt, end, now=time.time()))
                ended = True
            elif kind == "settled":
                self._on_end_of(job_id, self.directory.settled(job_id, rest[0], now=time.time()))
                ended = True
            elif kind == "unsettled":
                undecided[job_id] = rest[0]
            elif kind == "began":
                attempt, at, place = rest
                decision = self.directory.began(job_id, attempt, at=at or time.time(), place=place)
                self._commit(decision, within=_INFORMATIVE)
                for change in decision.changes:  # it is informative: nobody need wait until it is durable
                    self.published[job_id] = change.record
                    self._sessions.tell(job_id, ("view", *wire_view(change.record)))
            elif kind == "progress":
                self._sessions.tell(job_id, ("progress", job_id, rest[1]))
            elif kind == "waiting":
                self.wait_for(job_id, rest[0], rest[1])
        self._unsettled(undecided)
        if not ended:
            return _nothing_to_wait_for()
        done = self._commit(Decision(), within=_UNHURRIED)
        self._dispatch()
        return done

    def wait_for(self, job_id: str, attempt: int, reason: str | None) -> None:
        """Tell clients, and write down, what keeps a job that has begun from going on; None once nothing does."""
        decision = self.directory.waits(job_id, attempt, reason=reason or "", now=time.time())
        # Told when it is published, so in the order of what else becomes of the job.
        self._commit(decision, within=_INFORMATIVE)

    def _on_end_of(self, job_id: str, decision: Decision) -> None:
        hurried = bool(decision.actions) or self._sessions.is_awaited(job_id)
        if decision.changes and not hurried:
            self._held_back.add(job_id)
        self._commit(decision, within=0.0 if hurried else _UNHURRIED)

    # What is to be done.

    def _dispatch(self) -> None:
        if self._ended:
            return
        if self.directory.unfinished:
            self.roster.ensure()
        decision = self.directory.dispatch(now=time.time())
        if decision.changes or decision.actions:
            self._commit(decision)

    def _decided(self, decision: Decision) -> None:
        self._commit(decision)
        self._dispatch()

    def _unsettled(self, reasons: Mapping[str, str]) -> None:
        """It could not be found out how jobs ended: that is asked again after a pause, for as long as it takes.

        Args:
            reasons: What each waits for.
        """
        again: dict[int, list[str]] = {}
        for job_id, reason in reasons.items():
            self._commit(self.directory.unsettled(job_id, reason=reason, now=time.time()), within=_INFORMATIVE)
            again.setdefault(self.directory.asked(job_id), []).append(job_id)
        for tries, job_ids in again.items():
            if tries:
                asyncio.get_running_loop().call_later(pause_s(tries), self._ask_again, job_ids)

    def _ask_again(self, job_ids: Sequence[str]) -> None:
        self.directory.ask_again(job_ids)
        self._dispatch()

    def complete(self, order: str, store_uri: str) -> str:
        """A work order with the storage options of its store."""
        return self._actions.complete(order, store_uri)

    async def shorten_ledger(self) -> None:
        """Write a snapshot and remove what it makes needless, if it is time."""
        if not self.number or not self._ledger.maintenance_due:
            return
        records, number = list(self.published.values()), self.number
        await asyncio.get_running_loop().run_in_executor(self._reading, self._ledger.maintain, records, number)

    async def check_ledger(self) -> None:
        """Look whether another registry has taken the scope over.

        Raises:
            SealedError: It has.
        """
        try:
            await asyncio.get_running_loop().run_in_executor(self._reading, self._ledger.check)
        except SealedError:
            raise
        except StorageError:
            return  # whoever wants something appended will hear of it

    def waiting_jobs(self, patience: float) -> list[tuple[JobRecord, bool]]:
        """Followed jobs that have waited for at least ``patience`` seconds, and whether they are still queued here."""
        before = time.time() - patience
        followed = (self.directory.jobs[job_id] for job_id in self._sessions.followed_jobs())
        return [
            (record, not record.started_at)
            for record in followed
            if record.status is JobStatus.PENDING and (record.started_at or record.accepted_at) <= before
        ]

    def tell_why(self, job_id: str, reason: str) -> None:
        """Tell clients what a job waits for."""
        self._sessions.tell(job_id, ("waits", job_id, reason))

    @property
    def ledger_uri(self) -> str:
        """Where the ledger lies."""
        return self._ledger.uri

    def warn(self, uri: str, failure: str) -> None:
        """Tell clients that a store was not put in order."""
        self._sessions.tell_all(("maintenance", uri, failure))

    async def put_stores_in_order(self) -> dict[str, str]:
        """Have every store that jobs wrote to put in order now; returns what stood in the way, by store."""
        return await self._upkeep.put_stores_in_order()

    def prune(self) -> None:
        """Forget clients that have gone."""
        self._sessions.prune()


def _nothing_to_wait_for() -> asyncio.Future[None]:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


def _request(fields: dict[str, Any]) -> Request:
    return Request(**{**fields, "policy": Policy(**fields["policy"])})


def _order_alone(data: bytes) -> bytes:
    blob = Blob.unpack(data)
    return Blob(blob.order, "{}", b"").pack()

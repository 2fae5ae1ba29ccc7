"""Which job holds a run key: it is given to those who submit equal work."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping

from checkmaite_core.job import JobStatus
from checkmaite_ledger.records import JobRecord

__all__ = ["RunKeys", "is_uncertain", "may_hold"]


def may_hold(record: JobRecord) -> bool:
    """Whether equal work may be given this job: it completed, or it is under way and can still do so.

    One that waits to be settled has failed, unless it turns out to have committed before that.
    """
    if record.ended:
        return record.status is JobStatus.COMPLETED and not is_uncertain(record)
    return record.cancel_requested_at is None and not record.failure


def is_uncertain(record: JobRecord) -> bool:
    """Whether a job that has ended used what its run key does not cover."""
    # Not parsed, as this is asked of every job of a ledger. Within a text, JSON has a backslash before a quote.
    return '"key_uncertain":"' in record.outcome


class RunKeys:
    """The holder of each run key: of the jobs that may hold it, the one that was accepted last.

    A job that used what its key does not cover makes the key uncertain: what was accepted before it is not given
    either, as that may have used the same as it was then. That is a function of the records alone, so it is the same
    after a replay as before.
    """

    def __init__(self, jobs: Mapping[str, JobRecord]) -> None:
        self._jobs = jobs
        self._holders: dict[str, str] = {}
        self._passed: dict[str, tuple[int, str]] = {}  # the latest that may not hold it, by position
        self._uncertain: dict[str, int] = {}  # position of the latest that used what it does not cover
        self._older: dict[str, list[tuple[int, str]]] = {}  # by position; they may be given the key back

    def holder(self, run_key: str | None) -> JobRecord | None:
        """The job that equal work is given, if there is one."""
        job_id = self._holders.get(run_key) if run_key is not None else None
        if run_key is None or job_id is None:
            return None
        record = self._jobs[job_id]
        return None if record.position < self._uncertain.get(run_key, -1) else record

    def passed_over(self, run_key: str | None) -> JobRecord | None:
        """The job of a key that was accepted last of those that equal work is not given; None if there is none."""
        passed = self._passed.get(run_key) if run_key is not None else None
        return None if passed is None else self._jobs[passed[1]]

    def update(self, record: JobRecord) -> None:
        """Take a record that is new, or whose right to its key has changed, into account."""
        if record.run_key is None:
            return
        holder = self._holders.get(record.run_key)
        if not may_hold(record):
            entry = (record.position, record.job_id)
            self._passed[record.run_key] = max(self._passed.get(record.run_key, entry), entry)
            if is_uncertain(record):
                self._uncertain[record.run_key] = max(self._uncertain.get(record.run_key, -1), record.position)
            if holder == record.job_id:
                self._pass_on(record.run_key)
        elif holder is None:
            self._holders[record.run_key] = record.job_id
        elif holder != record.job_id:
            position = self._jobs[holder].position
            newer = record.position > position
            loser = (position, holder) if newer else (record.position, record.job_id)
            insort(self._older.setdefault(record.run_key, []), loser)
            if newer:
                self._holders[record.run_key] = record.job_id

    def _pass_on(self, run_key: str) -> None:
        older = self._older.get(run_key, [])
        del self._holders[run_key]
        while older and run_key not in self._holders:
            _, job_id = older.pop()
            # One that may not hold it now comes back by itself if it completes after all.
            if may_hold(self._jobs[job_id]):
                self._holders[run_key] = job_id
        if not older:
            self._older.pop(run_key, None)

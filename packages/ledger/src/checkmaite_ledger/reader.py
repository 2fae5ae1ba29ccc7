"""The history of a scope, for everyone who may read: no Ray, no cluster, no rights to write."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from checkmaite_core.errors import ConfigurationError, CorruptObjectError, JobNotFoundError, StoreError
from checkmaite_core.job import JobStatus
from checkmaite_core.report import ArtifactReport, InlineTextReport
from checkmaite_ledger._entries import without_submissions
from checkmaite_ledger._layout import check_scope, prefix_of, scopes_of
from checkmaite_ledger._replay import State
from checkmaite_ledger.listing import LedgerPage, page_of
from checkmaite_ledger.records import JobRecord
from checkmaite_storage import CommitLog, Epoch, ObjectStore, open_object_store

__all__ = ["JobLedger", "scopes"]


def scopes(uri: str, storage_options: Mapping[str, Any] | None = None) -> list[str]:
    """The scopes that have a ledger at ``uri``, sorted. Arguments and errors as of :class:`JobLedger`."""
    return scopes_of(open_object_store(uri, storage_options))


class JobLedger:
    """What is known of all jobs of a scope. Every call reads what is durable now.

    Args:
        uri: Where the ledger lies: the URI of the analytics store, unless it was put elsewhere.
        scope: The scope.
        storage_options: Passed on to the storage connector; never stored, logged or shown.

    Raises:
        ConfigurationError: ``scope`` cannot name a scope, or ``uri`` a location.
        PluginError: There is no connector for ``uri``.
    """

    def __init__(self, uri: str, scope: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self.scope = check_scope(scope)
        self._options = storage_options
        self._objects = open_object_store(uri, storage_options)
        self._log = CommitLog(self._objects, prefix_of(scope))

    def __repr__(self) -> str:
        return f"JobLedger({self._objects.uri!r}, {self.scope!r})"

    def jobs(
        self,
        *,
        status: JobStatus | str | None = None,
        name: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> LedgerPage:
        """Jobs, the one accepted last first.

        Args:
            status: Only those that are so, as far as the ledger tells.
            name: Only those with exactly this name.
            since: Only those submitted at or after this time (aware).
            limit: Most jobs on the page.
            cursor: ``next_cursor`` of the page before.

        Raises:
            ConfigurationError: A filter cannot be understood, or there is no such scope.
            CorruptObjectError: The ledger is damaged; the error names the object.
        """
        newest_first = self._state().newest_first()
        return page_of(newest_first, status=status, name=name, since=since, limit=limit, cursor=cursor)

    def job(self, job_id: str) -> JobRecord:
        """One job.

        Raises:
            JobNotFoundError: The scope has no job of this id.
            ConfigurationError: There is no such scope.
        """
        record = self._state().get(job_id)
        if record is None:
            raise JobNotFoundError(
                f"scope {self.scope!r} at {self._objects.uri} has no job {job_id!r}.",
                hint="List them with jobs(); other scopes have other jobs.",
                job_id=job_id,
            )
        return record

    def report(self, job_id: str, storage_options: Mapping[str, Any] | None = None) -> str | None:
        """The text of a job's report; None if it has none, or has not completed.

        Args:
            job_id: The job.
            storage_options: For the job's store; those of the ledger if left out.

        Raises:
            JobNotFoundError: The scope has no job of this id.
            StoreError: The capability put the report somewhere else.
            ObjectNotFoundError: It is gone.
            CorruptObjectError: It is damaged.
        """
        record = self.job(job_id)
        outcome = record.parsed_outcome()
        report = outcome.reference.report if outcome is not None and outcome.reference is not None else None
        if report is None or isinstance(report, InlineTextReport):
            return report.content if report else None
        options = self._options if storage_options is None else storage_options
        return _read(open_object_store(record.store_uri, options), report)

    def epochs(self) -> list[Epoch]:
        """Everyone who ever wrote this ledger, the first one first."""
        return self._log.epochs()

    def _state(self) -> State:
        contents = self._log.read(without_submissions)
        if contents.next_number == 1 and self._log.latest_epoch() is None:
            there = ", ".join(scopes_of(self._objects)) or "none"
            raise ConfigurationError(
                f"there is no scope {self.scope!r} at {self._objects.uri}.",
                hint=f"Check the URI and the scope's name. Scopes there: {there}.",
            )
        return State.of(f"{self._objects.uri}/{prefix_of(self.scope).rstrip('/')}", contents)


def _read(objects: ObjectStore, report: ArtifactReport) -> str:
    if "://" in report.uri:
        raise StoreError(
            f"the report lies outside the store, at {report.uri!r}.",
            hint="Open it with the tool that the capability's authors name; only the job's own store is read here.",
        )
    data = objects.get(report.uri)
    if report.sha256 is not None and hashlib.sha256(data).hexdigest() != report.sha256:
        uri = f"{objects.uri}/{report.uri}"
        raise CorruptObjectError(
            f"{uri} is corrupt: its checksum is not the one in the job's outcome.",
            hint="Restore the report from a copy; the job's results are not touched.",
            uri=uri,
        )
    return data.decode("utf-8", "replace")

"""Pages of jobs, newest first; the same for a registry's memory and for a ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from checkmaite_core.job import JobStatus
from checkmaite_core.tracking import check_filters
from checkmaite_ledger.records import JobRecord

__all__ = ["LedgerPage", "page_of"]


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """Some jobs of a listing.

    Attributes:
        records: The one accepted last first.
        next_cursor: Pass it on as ``cursor`` to get the next page; None on the last one.
    """

    records: tuple[JobRecord, ...]
    next_cursor: str | None = None


def page_of(
    newest_first: Iterable[JobRecord],
    *,
    status: JobStatus | str | None = None,
    name: str | None = None,
    since: datetime | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> LedgerPage:
    """One page. It goes by the order of acceptance, so jobs that arrive meanwhile do not shift the next one.

    Args:
        newest_first: All jobs, the one accepted last first.
        status: Only those that are so now.
        name: Only those with exactly this name.
        since: Only those submitted at or after this time (aware).
        limit: Most jobs on the page.
        cursor: ``next_cursor`` of the page before.

    Raises:
        ConfigurationError: A filter cannot be understood.
    """
    check_filters(status=status, name=name, since=since, limit=limit, cursor=cursor)
    before = None if cursor is None else int(cursor)
    earliest = None if since is None else since.timestamp()
    found: list[JobRecord] = []
    for record in newest_first:
        if (
            (before is None or record.position < before)
            and (status is None or record.status == status)
            and (name is None or record.name == name)
            and (earliest is None or record.submitted_at >= earliest)
        ):
            if len(found) == limit:
                return LedgerPage(tuple(found), str(found[-1].position))
            found.append(record)
    return LedgerPage(tuple(found))

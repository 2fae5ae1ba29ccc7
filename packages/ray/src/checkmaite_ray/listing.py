"""Pages of the jobs that a registry has."""

from __future__ import annotations

from collections.abc import Mapping

from checkmaite_ledger import JobRecord

__all__ = ["page_of_records"]


def page_of_records(
    records: Mapping[str, JobRecord],
    *,
    status: str | None,
    name: str | None,
    since: float | None,
    limit: int,
    cursor: int | None,
) -> tuple[list[JobRecord], str | None]:
    """One page, newest first; the cursor is a position in the order of acceptance, which never changes."""
    page: list[JobRecord] = []
    for record in reversed(records.values()):
        if cursor is not None and record.position >= cursor:
            continue
        if len(page) == limit:
            return page, str(record.position + 1)
        wanted = (status is None or record.status == status) and (name is None or record.name == name)
        if wanted and (since is None or record.submitted_at >= since):
            page.append(record)
    return page, None

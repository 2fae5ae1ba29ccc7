"""``checkmaite jobs list``: what was submitted, and what became of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from checkmaite_cli.console import make_console, plain
from checkmaite_cli.ledgers import as_options, everything, opened_ledger
from checkmaite_cli.output import write_document
from checkmaite_cli.shortening import shortened
from checkmaite_core.errors import ConfigurationError
from checkmaite_core.failure import FailureRecord

if TYPE_CHECKING:
    from checkmaite_ledger import JobLedger, JobRecord

__all__ = ["as_document", "last_known", "list_jobs", "moment", "took", "why"]

_STYLES = {"COMPLETED": "green", "FAILED": "red", "CANCELLED": "yellow"}
_MINUTE, _HOUR = 60.0, 3600.0


def list_jobs(
    store: str | None,
    ledger: str | None,
    scope: str | None,
    *,
    status: str | None,
    name: str | None,
    since: datetime | None,
    limit: int,
    cursor: str | None,
    json: bool,
) -> None:
    """Print jobs, newest first.

    Args:
        store: The analytics store.
        ledger: Where the ledger lies, if not there.
        scope: Whose jobs.
        status: Only those with this status.
        name: Only those with this name.
        since: Only those submitted then or later; UTC if it does not say.
        limit: Most jobs to show.
        cursor: Go on where an earlier listing ended.
        json: Write a JSON document.

    Raises:
        ConfigurationError: The options do not say which ledger, or the cursor is none.
        StorageError: The ledger cannot be read.
    """
    if cursor is not None and not cursor.isdecimal():
        raise ConfigurationError(
            f"{cursor!r} is not a cursor.", hint="Leave --cursor out, or take it from the last line of a listing."
        )
    from checkmaite_ledger import page_of

    opened = opened_ledger(store, ledger, scope)
    moment_utc = since.replace(tzinfo=since.tzinfo or UTC) if since is not None else None
    everyone = everything(opened)
    page = page_of(everyone, status=status, name=name, since=moment_utc, limit=limit, cursor=cursor)
    if json:
        jobs = [as_document(record) for record in page.records]
        write_document(sys.stdout, {"jobs": jobs, "next_cursor": page.next_cursor})
        sys.stdout.flush()
        return
    _print_table(page.records, sorted(record.job_id for record in everyone))
    console = make_console()
    count = f"{len(page.records)} job{'' if len(page.records) == 1 else 's'}"
    if page.next_cursor is not None:
        count += f"; there are more: --cursor {page.next_cursor} shows those before"
    console.print(count, style="dim", soft_wrap=True)
    unfinished = [record for record in page.records if not record.ended]
    if unfinished:
        console.print(last_known(opened, len(unfinished)), style="dim", soft_wrap=True)
    if page.records:
        console.print(
            f"checkmaite jobs show JOB {as_options(store, ledger, scope)} tells all of one", style="dim", soft_wrap=True
        )


def _print_table(records: Sequence[JobRecord], ids: Sequence[str]) -> None:
    """Print a line for each job, and one more under it that says why it failed."""
    shown = [record.job_id for record in records]
    short = [plain(job_id) for job_id in shortened(ids, shown)]
    width = max([len("Job"), *map(len, short)])
    console = make_console()
    console.print(f"{'Job':<{width}}  {'Status':<9}  {'Submitted (UTC)':<16}  {'Took':>8}  Starts  Name", style="bold")
    console.print("─" * console.width)
    for record, job_id in zip(records, short, strict=True):
        status = str(record.status)
        line = Text.assemble(
            f"{job_id:<{width}}  ",
            (f"{status:<9}", _STYLES.get(status, "")),
            f"  {moment(record.submitted_at)[:-3]}  {took(record):>8}  {record.attempt:>6}  {plain(record.name)}",
        )
        console.print(line, soft_wrap=True)
        if reason := why(record):
            console.print(Text(f"  {reason}", style="dim"), no_wrap=True, overflow="ellipsis")


def last_known(ledger: JobLedger, unfinished: int) -> str:
    """What the status of jobs that have not ended means."""
    them = "1 job has" if unfinished == 1 else f"{unfinished} jobs have"
    epoch = ledger.epochs()[-1]
    where = " at " + plain(epoch.who["address"]) if epoch.who.get("address") else ""
    return (
        f"{them} not ended as far as the ledger knows. It cannot tell whether the cluster{where} that has them lives; "
        "a backend that is configured for the scope asks it."
    )


def as_document(record: JobRecord) -> dict[str, Any]:
    """What is known of a job, for other programs. Times are ISO 8601 in UTC, durations seconds."""
    view, outcome = record.view(), record.parsed_outcome()
    return {
        "job_id": record.job_id,
        "name": record.name,
        "status": str(record.status),
        "capability_id": record.capability_id,
        "recovers": record.recovers or None,
        "submitted_by": record.client,
        "submitted_at": _time(record.submitted_at),
        "started_at": view.started_at,
        "ended_at": _time(record.ended_at),
        "took_seconds": _seconds(record),
        "starts": record.attempt,
        "restart_causes": list(record.causes),
        "cancel_requested_at": _time(record.cancel_requested_at),
        "shared_with": record.adopted,
        "place": record.place or None,
        "waiting_for": record.waiting_for or None,
        "demand": record.demand,
        "store_uri": record.store_uri,
        "failure": outcome.failure.model_dump(mode="json") if outcome and outcome.failure else None,
        "reference": outcome.reference.model_dump(mode="json") if outcome and outcome.reference else None,
    }


def moment(seconds: float) -> str:
    """POSIX seconds as a time in UTC, for people."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def took(record: JobRecord) -> str:
    """How long an ended job's last start took."""
    seconds = _seconds(record)
    if seconds is None:
        return "-"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    return f"{seconds / _MINUTE:.1f} min" if seconds < _HOUR else f"{seconds / _HOUR:.1f} h"


def why(record: JobRecord) -> str:
    """Why a job failed, or what it waits for, in one line; empty if neither."""
    if record.waiting_for:
        return plain(f"waits for {record.waiting_for}")
    outcome = record.parsed_outcome()
    failure: FailureRecord | None = outcome.failure if outcome else None
    if failure is None or str(record.status) != "FAILED":
        return ""
    first = next(iter(failure.message.strip().splitlines()), "")
    kind = failure.error_type.removeprefix("builtins.").rpartition(".")[2]
    return plain(f"{kind}: {first}" if first else kind)


def _seconds(record: JobRecord) -> float | None:
    view = record.view()
    if view.started_at is None or view.finished_at is None:
        return None
    return max(0.0, (view.finished_at - view.started_at).total_seconds())


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

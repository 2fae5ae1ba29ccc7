"""``checkmaite jobs show``: everything that the ledger has on one job."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from checkmaite_cli.console import make_console, plain
from checkmaite_cli.jobs import as_document, last_known, moment, took
from checkmaite_cli.ledgers import as_options, everything, opened_ledger
from checkmaite_cli.output import write_document
from checkmaite_core.errors import JobNotFoundError
from checkmaite_core.tracking import check_job_id

if TYPE_CHECKING:
    from checkmaite_core.failure import FailureRecord
    from checkmaite_core.reference import CapabilityRunRef
    from checkmaite_ledger import JobRecord

__all__ = ["show_job"]

_LABEL = 15
"""Width of the column of labels."""


def show_job(job: str, store: str | None, ledger: str | None, scope: str | None, *, json: bool) -> None:
    """Print everything that is known of one job.

    Args:
        job: Its id, or the beginning of it.
        store: The analytics store.
        ledger: Where the ledger lies, if not there.
        scope: Whose job.
        json: Write a JSON document.

    Raises:
        ConfigurationError: The options do not say which ledger, or it cannot be an id.
        JobNotFoundError: There is no such job, or there are several.
        StorageError: The ledger, or the report, cannot be read.
    """
    check_job_id(job)
    opened = opened_ledger(store, ledger, scope)
    record = _find(everything(opened), job, as_options(store, ledger, scope))
    report = opened.report(record.job_id)
    if json:
        write_document(sys.stdout, {**as_document(record), "report": report})
        sys.stdout.flush()
        return
    console = make_console()
    for label, value in _facts(record):
        console.print(Text.assemble((f"{label:<{_LABEL}} ", "bold"), plain(value, keep="\n")), soft_wrap=True)
    if not record.ended:
        console.print(f"\n{last_known(opened, 1)}", style="dim", soft_wrap=True)
    outcome = record.parsed_outcome()
    if outcome is not None and outcome.failure is not None:
        _print(f"\n{outcome.failure.message}\n\n{outcome.failure.traceback}")
    if report is not None:
        console.print("\nReport", style="bold")
        _print(report)


def _print(text: str) -> None:
    # As it is: lines of a traceback or of Markdown are not to be wrapped.
    sys.stdout.write(plain(text, keep="\n\t").rstrip("\n") + "\n")
    sys.stdout.flush()


def _find(records: Sequence[JobRecord], wanted: str, options: str) -> JobRecord:
    found = [record for record in records if record.job_id.startswith(wanted)]
    exact = [record for record in found if record.job_id == wanted]
    if len(exact or found) == 1:
        return (exact or found)[0]
    listing = f'"checkmaite jobs list {options}" lists them.'
    if not found:
        raise JobNotFoundError(f"no job has an id that begins with {wanted!r}.", hint=listing, job_id=wanted)
    raise JobNotFoundError(
        f"{len(found)} jobs have an id that begins with {wanted!r}.", hint=f"Type more of it; {listing}", job_id=wanted
    )


def _facts(record: JobRecord) -> Iterator[tuple[str, str]]:
    yield "Job", record.job_id
    yield "Name", record.name
    yield "Status", str(record.status)
    yield "Capability", record.capability_id
    if record.reason:
        yield "Started for", record.reason
    if record.recovers:
        yield "Recovers", record.recovers
    yield "Submitted", f"{moment(record.submitted_at)} UTC by {record.client}"
    if record.adopted:
        yield "Shared", f"given to {record.adopted} more submission{'s' if record.adopted > 1 else ''} of equal work"
    yield "Starts", ", ".join([str(record.attempt), *(f"again after {cause}" for cause in record.causes)])
    view = record.view()
    if view.started_at is not None:
        where = f" at {record.place}" if record.place else ""
        yield "Last began", f"{view.started_at:%Y-%m-%d %H:%M:%S} UTC{where}"
    if record.waiting_for:
        yield "Waits for", record.waiting_for
    if record.cancel_requested_at is not None:
        yield "Cancel asked", f"{moment(record.cancel_requested_at)} UTC"
    if record.ended_at is not None:
        yield "Ended", f"{moment(record.ended_at)} UTC; took {took(record)}"
    yield "Asked for", ", ".join(f"{amount:g} {name}" for name, amount in record.demand.items()) or "nothing"
    yield "Store", record.store_uri
    outcome = record.parsed_outcome()
    if outcome is not None and outcome.reference is not None:
        yield from _results(outcome.reference)
    if outcome is not None and outcome.failure is not None:
        yield "Failure", _kind(outcome.failure)
        if outcome.failure.recoverable:
            yield "Kept", f"what it had computed: checkmaite jobs recommit {record.job_id} ... stores it"


def _results(reference: CapabilityRunRef) -> Iterator[tuple[str, str]]:
    yield "Run", reference.run_uid
    yield "Models", ", ".join(reference.model_ids) or "none"
    yield "Datasets", ", ".join(reference.dataset_ids) or "none"
    rows = (f"{table} ({count} row{'' if count == 1 else 's'})" for table, count in reference.tables.items())
    yield "Tables", ", ".join(rows) or "none"


def _kind(failure: FailureRecord) -> str:
    again = "; trying again unchanged can help" if failure.retryable else ""
    return f"{failure.kind}: {failure.error_type.removeprefix('builtins.')}{again}"

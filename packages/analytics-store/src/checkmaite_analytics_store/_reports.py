"""Large reports: objects of their own, named by event and content."""

from __future__ import annotations

import hashlib
import re

from checkmaite_analytics_store._layout import REPORTS
from checkmaite_analytics_store._sealed import corrupt
from checkmaite_core.errors import ObjectExistsError, RunContractError, StoreError
from checkmaite_core.naming import check_event_id
from checkmaite_core.report import ArtifactReport, InlineTextReport, Report
from checkmaite_storage import ObjectStore

__all__ = ["check_report", "event_of_report", "put_report", "read_report"]

_KEY = re.compile(r"reports/(?P<event>[^/]+)/(?P<sha256>[0-9a-f]{64})\Z")


def event_of_report(key: str) -> str | None:
    """The event that a report belongs to, or None if the object is not one of ours."""
    match = _KEY.match(key)
    return match["event"] if match else None


def put_report(objects: ObjectStore, event_id: str, report: InlineTextReport) -> ArtifactReport:
    """Keep a report's text; a repeat finds its own object and changes nothing.

    Raises:
        RunContractError: The text cannot be encoded, so it could not be read back.
    """
    try:
        data = report.content.encode()
    except UnicodeEncodeError as error:
        raise RunContractError(
            f"the report of event {event_id!r} holds text that UTF-8 cannot encode: {error.reason}.",
            hint="Clean the text with value.encode('utf-8', 'replace').decode().",
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    key = f"{REPORTS}{check_event_id(event_id)}/{digest}"
    try:
        objects.put_if_absent(key, data)
    except ObjectExistsError:
        check_report(f"{objects.uri}/{key}", objects.get(key))
    return ArtifactReport(
        media_type=report.media_type, filename=report.filename, uri=key, size=len(data), sha256=digest
    )


def read_report(objects: ObjectStore, report: Report | None) -> str | None:
    """The text of a report; None for none.

    Raises:
        StoreError: The capability put it somewhere else, or it is not text.
        ObjectNotFoundError: It is gone.
        CorruptObjectError: Its bytes are not those that were written.
    """
    if report is None or isinstance(report, InlineTextReport):
        return report.content if report else None
    if not _KEY.match(report.uri):
        raise StoreError(
            f"the report lies outside the store, at {report.uri!r}.",
            hint="Open it with the tool that the capability's authors name; only reports/ of the store is read here.",
        )
    data = objects.get(report.uri)
    uri = f"{objects.uri}/{report.uri}"
    check_report(uri, data)
    if report.sha256 is not None and hashlib.sha256(data).hexdigest() != report.sha256:
        raise corrupt(uri, "its checksum is not the one in the reference")
    return data.decode("utf-8", "replace")


def check_report(uri: str, data: bytes) -> None:
    """Compare a report with its name, which holds its digest.

    Raises:
        CorruptObjectError: They do not fit.
    """
    if hashlib.sha256(data).hexdigest() != uri.rpartition("/")[2]:
        raise corrupt(uri, "its checksum is not the one in its name")

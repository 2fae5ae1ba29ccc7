"""What a run says, apart from when and by whom it was written: to tell a repeated write from another result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from checkmaite_core._cells import Scalar, show
from checkmaite_core.errors import WriteConflictError
from checkmaite_core.naming import new_job_id
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.report import ArtifactReport, Report
from checkmaite_core.store import RunBundle

__all__ = ["Content", "conflict", "content_of", "first_difference", "with_content_digest"]

_KEYS = frozenset({"event_id", "run_uid"})
"""Columns that every row of an event has alike."""
_MOST_SHOWN = 3
"""Columns of a row that tell which one is meant."""

Rows = Sequence[Mapping[str, Scalar]]


@dataclass(frozen=True, slots=True)
class Content:
    """What one event holds.

    Attributes:
        facts: By name, such as ``config``; everything but the rows.
        tables: The rows by table, in any order; None if they are no longer there.
    """

    facts: Mapping[str, object]
    tables: Mapping[str, Rows] | None


def content_of(reference: CapabilityRunRef, config: str, tables: Mapping[str, Rows] | None) -> Content:
    """The content of an event from its parts."""
    facts = {
        "run_uid": reference.run_uid,
        "capability_id": reference.capability_id,
        "config": config,
        "dataset_ids": list(reference.dataset_ids),
        "model_ids": list(reference.model_ids),
        "metric_ids": list(reference.metric_ids),
        "report": _report_digest(reference.report),
    }
    return Content(facts, tables)


def with_content_digest(bundle: RunBundle) -> RunBundle:
    """The bundle, its reference with the digest of what it says: equal content has an equal one, in any row order."""
    content = _content_of_bundle(bundle)
    rows = {
        table: hashlib.sha256("\n".join(sorted(map(_row_digest, part))).encode()).hexdigest()
        for table, part in (content.tables or {}).items()
        if part
    }
    document = json.dumps({"facts": content.facts, "rows": rows}, sort_keys=True)
    digest = hashlib.sha256(document.encode()).hexdigest()
    return replace(bundle, reference=bundle.reference.model_copy(update={"content_sha256": digest}))


def first_difference(earlier: Content, bundle: RunBundle) -> str | None:
    """What of a bundle differs from what is stored: the first column and row, in words; None if nothing does."""
    return next(_differences(earlier, _content_of_bundle(bundle)), None)


def conflict(uri: str, bundle: RunBundle, difference: str) -> WriteConflictError:
    """The error for a write whose event holds something else already.

    Args:
        uri: The store's location.
        bundle: What was to be written.
        difference: From :func:`first_difference`.
    """
    fresh = new_job_id().replace("job-", "write-", 1)
    event_id = bundle.event_id
    same = event_id == bundle.reference.run_uid
    return WriteConflictError(
        f"{uri} holds other content under event {event_id!r}{' (the run_uid)' if same else ''} already: {difference} "
        "Nothing was written.",
        hint="To keep both, write this one as a new event, whose rows queries then show as the run's newest: "
        f"store.write(run, event_id={fresh!r}). If the stored one is right, nothing is to be done. If the two are not "
        "of the same work, give what tells them apart to the config or to the ids of the inputs.",
        event_id=event_id,
        difference=difference,
    )


def _content_of_bundle(bundle: RunBundle) -> Content:
    return content_of(bundle.reference, bundle.config, {rows.table: rows.rows for rows in bundle.tables})


def _differences(earlier: Content, later: Content) -> Iterator[str]:
    for name, value in later.facts.items():
        stored = earlier.facts[name]
        if name != "report" and stored != value:
            yield f"{name} is {show(stored)} there, but {show(value)} here."
    if earlier.tables is None:
        yield "its rows are no longer there to be compared, but the digest of its content is another."
        return
    for table in sorted({*(later.tables or {}), *earlier.tables}):
        yield from _of_rows(table, earlier.tables.get(table, ()), (later.tables or {}).get(table, ()))
    if earlier.facts["report"] != later.facts["report"]:
        yield "the rows are equal, but the report is another."


def _of_rows(table: str, earlier: Rows, later: Rows) -> Iterator[str]:
    left = _unmatched(earlier, later)
    right = _unmatched(later, earlier)
    if not right and not left:
        return
    if len(earlier) != len(later):
        extra = (right if len(later) > len(earlier) else left)[0]
        where = "here only" if len(later) > len(earlier) else "there only"
        yield f"table {table!r} has {len(earlier)} rows there, but {len(later)} here; {where}: {_shown(extra)}."
        return
    new = right[0]
    old = min(left, key=lambda row: len(_differing(row, new)))
    column = _differing(old, new)[0]
    yield (
        f"table {table!r}, column {column!r}: {show(old.get(column))} there, but {show(new.get(column))} here, in the "
        f"row {_shown({name: value for name, value in new.items() if name != column})}."
    )


def _unmatched(rows: Rows, others: Rows) -> list[Mapping[str, Scalar]]:
    """Those rows that have no equal among the others, each of which counts once."""
    left: dict[str, int] = {}
    for row in others:
        key = _row_digest(row)
        left[key] = left.get(key, 0) + 1
    found = []
    for row in rows:
        key = _row_digest(row)
        if left.get(key):
            left[key] -= 1
        else:
            found.append(row)
    return found


def _differing(row: Mapping[str, Scalar], other: Mapping[str, Scalar]) -> list[str]:
    names = [*other, *(name for name in row if name not in other)]
    return [name for name in names if name not in _KEYS and _text(row.get(name)) != _text(other.get(name))]


def _row_digest(row: Mapping[str, Scalar]) -> str:
    """A digest of a row's values; a column that it lacks is as one that is NULL."""
    cells = sorted((name, _text(value)) for name, value in row.items() if value is not None and name not in _KEYS)
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def _text(value: Scalar) -> str:
    match value:
        case datetime():
            return f"at {value.isoformat()}"
        case date():
            return f"on {value.isoformat()}"
        case bytes():
            return f"bytes {value.hex()}"
        case float():
            return f"float {value.hex()}"
        case _:
            return f"{type(value).__name__} {value}"


def _shown(row: Mapping[str, Any]) -> str:
    named = {name: value for name, value in row.items() if name not in _KEYS and value is not None}
    texts = sorted(named, key=lambda name: not isinstance(named[name], str))[:_MOST_SHOWN]
    return "{" + ", ".join(f"{name}: {show(named[name])}" for name in texts) + "}"


def _report_digest(report: Report | None) -> str | None:
    if report is None:
        return None
    if isinstance(report, ArtifactReport):
        return report.sha256 or report.uri
    return hashlib.sha256(report.content.encode("utf-8", "replace")).hexdigest()

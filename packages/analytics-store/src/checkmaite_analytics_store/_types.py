"""Column types: as stored, in Arrow and in SQL."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import pyarrow as pa

from checkmaite_core.record import ScalarType

__all__ = ["ARROW", "KEY_COLUMNS", "REFERENCES_COLUMNS", "RUNS_COLUMNS", "SCALARS", "SQL", "arrow_schema"]

ARROW: dict[ScalarType, pa.DataType] = {
    ScalarType.STRING: pa.string(),
    ScalarType.INT64: pa.int64(),
    ScalarType.FLOAT64: pa.float64(),
    ScalarType.BOOL: pa.bool_(),
    ScalarType.BYTES: pa.binary(),
    ScalarType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    ScalarType.DATE: pa.date32(),
}

SCALARS: dict[pa.DataType, ScalarType] = {arrow: kind for kind, arrow in ARROW.items()}

SQL: dict[ScalarType, str] = {
    ScalarType.STRING: "VARCHAR",
    ScalarType.INT64: "BIGINT",
    ScalarType.FLOAT64: "DOUBLE",
    ScalarType.BOOL: "BOOLEAN",
    ScalarType.BYTES: "BLOB",
    ScalarType.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
    ScalarType.DATE: "DATE",
}

_S, _B, _T = ScalarType.STRING, ScalarType.BOOL, ScalarType.TIMESTAMP

KEY_COLUMNS: dict[str, ScalarType] = {"event_id": _S, "run_uid": _S}
"""The first columns of every table."""

RUNS_COLUMNS: dict[str, ScalarType] = {
    **KEY_COLUMNS,
    "capability_id": _S,
    "is_current": _B,
    "committed_at": _T,
    "config": _S,
    "dataset_ids": _S,
    "model_ids": _S,
    "metric_ids": _S,
    "inputs": _S,
    "report_kind": _S,
    "report_uri": _S,
    "user_id": _S,
    "workspace_id": _S,
    "environment": _S,
    "executor": _S,
    "cluster_id": _S,
    "request_id": _S,
    "job_id": _S,
    "backend": _S,
    "submitted_at": _T,
    "completed_at": _T,
    "recovers": _S,
}
"""The table ``runs``: one row per event. ``is_current`` tells whether the other tables show this event's rows."""

REFERENCES_COLUMNS: dict[str, ScalarType] = {
    **KEY_COLUMNS,
    "writer": _S,
    "sequence": ScalarType.INT64,
    "reference": _S,
    "unknown": _S,
}
"""Of every folded event: what no query needs. ``unknown`` has what the header of a newer version's bundle said beyond
what this one knows, as JSON."""


def arrow_schema(columns: Mapping[str, ScalarType]) -> pa.Schema:
    """The Arrow schema of columns in their order."""
    return _schema(tuple(columns.items()))


@functools.lru_cache(maxsize=1024)
def _schema(columns: tuple[tuple[str, ScalarType], ...]) -> pa.Schema:
    return pa.schema([pa.field(name, ARROW[kind]) for name, kind in columns])

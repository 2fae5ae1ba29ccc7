"""Rows to Arrow and back: single runs when writing, many at once when reading."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from checkmaite_analytics_store._sealed import corrupt
from checkmaite_analytics_store._types import ARROW, KEY_COLUMNS, arrow_schema
from checkmaite_core.errors import SchemaError
from checkmaite_core.record import Scalar, ScalarType

__all__ = ["StoredTable", "TablePart", "align", "decode_tables", "encode_table", "to_arrow"]


@dataclass(frozen=True, slots=True)
class StoredTable:
    """One table of a bundle, its bytes checked but not yet decoded.

    Attributes:
        name: The table.
        columns: The record's columns, without ``event_id`` and ``run_uid``.
        rows: Number of rows.
        schema: The Arrow IPC schema message.
        batch: The Arrow IPC record batch message.
    """

    name: str
    columns: dict[str, ScalarType]
    rows: int
    schema: bytes
    batch: bytes


TablePart = tuple[str, str, StoredTable]
"""Event id, run_uid and one table of that event."""


@functools.lru_cache(maxsize=1024)
def _schema_message(columns: tuple[tuple[str, ScalarType], ...]) -> bytes:
    return bytes(arrow_schema(dict(columns)).serialize().to_pybytes())


def encode_table(
    table: str, columns: Mapping[str, ScalarType], rows: Sequence[Mapping[str, Scalar]]
) -> tuple[bytes, bytes]:
    """Arrow IPC schema message and record batch message of one table; both empty where there are no columns.

    Raises:
        SchemaError: A value does not fit its column.
    """
    if not columns:
        return b"", b""
    arrays = []
    for name, kind in columns.items():
        try:
            arrays.append(pa.array([row.get(name) for row in rows], type=ARROW[kind]))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise SchemaError(
                f"table {table!r}, column {name!r}: a value is not a {kind}: {error}.",
                hint="Build records through their class, which checks values.",
            ) from error
    batch = pa.record_batch(arrays, schema=arrow_schema(columns))
    return _schema_message(tuple(columns.items())), batch.serialize().to_pybytes()


def decode_tables(
    parts: Sequence[TablePart], columns: Mapping[str, ScalarType], uri_of: Callable[[str], str]
) -> pa.Table:
    """The rows of many events of one table, with ``event_id`` and ``run_uid`` first.

    Events of equal schema are decoded together: joining their messages into one stream is several times faster
    than opening each.

    Args:
        parts: The events' tables, all of one name.
        columns: The columns of the result; those that an event does not have are null.
        uri_of: Tells where an event lies, for errors.

    Raises:
        CorruptObjectError: One of them is not valid Arrow of the schema that its header says; it is named.
    """
    groups: dict[tuple[bytes, tuple[tuple[str, ScalarType], ...]], list[TablePart]] = defaultdict(list)
    for part in parts:
        groups[part[2].schema, tuple(part[2].columns.items())].append(part)
    tables = [align(_decode_group(group, uri_of), columns) for group in groups.values()]
    return pa.concat_tables(tables).combine_chunks() if tables else arrow_schema(columns).empty_table()


def _decode_group(group: Sequence[TablePart], uri_of: Callable[[str], str]) -> pa.Table:
    first = group[0][2]
    try:
        body = _decode_stream(first, [part for _, _, part in group])
    except (pa.ArrowException, _MismatchError, OSError) as error:
        if len(group) == 1:
            raise corrupt(uri_of(group[0][0]), f"table {first.name!r} is not valid Arrow data: {error}") from error
        # One at a time, to name the one; if each is well by itself, so is the whole.
        return pa.concat_tables([_decode_group([part], uri_of) for part in group])
    keys = [
        pa.array([value for event in group for value in [event[position]] * event[2].rows], type=pa.string())
        for position in (0, 1)
    ]
    return pa.table([*keys, *body], schema=arrow_schema({**KEY_COLUMNS, **first.columns}))


class _MismatchError(Exception):
    pass


def _decode_stream(first: StoredTable, group: Sequence[StoredTable]) -> list[pa.ChunkedArray]:
    expected = arrow_schema(first.columns)
    if not first.columns:
        if any(part.schema or part.batch for part in group):
            raise _MismatchError("it has bytes but no columns")
        return []
    stream = pa.py_buffer(b"".join((first.schema, *(part.batch for part in group))))
    with pa.ipc.open_stream(stream) as reader:
        if not reader.schema.equals(expected):
            raise _MismatchError("its schema is not the one that the header says")
        batches = list(reader)
    if [batch.num_rows for batch in batches] != [part.rows for part in group]:
        raise _MismatchError("it does not have the rows that the header says")
    table = pa.Table.from_batches(batches, schema=expected)
    table.validate(full=True)
    return list(table.columns)


def align(table: pa.Table, columns: Mapping[str, ScalarType]) -> pa.Table:
    """The table with exactly ``columns``, in their order; missing ones are null."""
    have = set(table.column_names)
    arrays = [
        table.column(name) if name in have else pa.nulls(table.num_rows, ARROW[kind]) for name, kind in columns.items()
    ]
    return pa.table(arrays, schema=arrow_schema(columns))


def to_arrow(rows: Iterable[Mapping[str, Scalar]], columns: Mapping[str, ScalarType]) -> pa.Table:
    """Rows of plain values as a table."""
    rows = list(rows)
    arrays = [pa.array([row[name] for row in rows], type=ARROW[kind]) for name, kind in columns.items()]
    return pa.table(arrays, schema=arrow_schema(columns))

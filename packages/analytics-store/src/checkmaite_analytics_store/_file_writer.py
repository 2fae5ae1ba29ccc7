"""Writes the Parquet files of one fold, each under a name that no other fold has."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from checkmaite_analytics_store._layout import REFERENCES, RUNS, table_key
from checkmaite_analytics_store._manifest import FileEntry
from checkmaite_analytics_store._streams import pieces
from checkmaite_analytics_store._types import SCALARS, arrow_schema
from checkmaite_core.record import ScalarType
from checkmaite_storage import ObjectStore

__all__ = ["EncodedFile", "FileWriter", "in_order", "order_of"]

_ROW_GROUP = 65_536
"""Rows that a reader can skip at once by their statistics; small enough for one run's rows to be cheap to find."""


_ROW_GROUP_BYTES = 32 * 1024 * 1024
"""Bytes in memory of a row group at most, since a reader holds one at a time."""


class EncodedFile:
    """One table's rows as the bytes of a Parquet file.

    Args:
        table: Whose rows they are.
        columns: Their columns.
        rows: The rows in parts, in the order of :func:`order_of`, so that those of a run, or of an event, lie together.
    """

    def __init__(self, table: str, columns: Mapping[str, ScalarType], rows: Iterable[pa.Table]) -> None:
        schema = arrow_schema(columns)
        buffer = io.BytesIO()
        self.table = table
        self.rows = 0
        self.columns = tuple(columns.items())
        with pq.ParquetWriter(
            buffer,
            schema,
            compression="zstd",
            write_page_checksum=True,
            sorting_columns=[pq.SortingColumn(list(columns).index(order_of(table)))],
        ) as writer:
            for group in _groups(rows):
                writer.write_table(group, row_group_size=group.num_rows)
                self.rows += group.num_rows
        self.data = buffer.getvalue()

    @classmethod
    def of(cls, table: str, rows: pa.Table) -> EncodedFile:
        """The file of rows that are in memory, in whatever order."""
        columns = {field.name: SCALARS[field.type] for field in rows.schema}
        return cls(table, columns, pieces(in_order(table, rows), _ROW_GROUP_BYTES))


def order_of(table: str) -> str:
    """The column by which a table's files are sorted."""
    return "event_id" if table in (RUNS, REFERENCES) else "run_uid"


def in_order(table: str, rows: pa.Table) -> pa.Table:
    """The rows, sorted; the same ones, and no copy, if they are of one run or event."""
    order = order_of(table)
    if not rows.num_rows or pc.min_max(rows[order])["min"] == pc.min_max(rows[order])["max"]:
        return rows
    return rows.sort_by(order)


def _groups(rows: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows in parts that fit into row groups."""
    held: list[pa.Table] = []
    count = size = 0
    for part in itertools.chain.from_iterable(pieces(part, _ROW_GROUP_BYTES) for part in rows):
        if held and (count + part.num_rows > _ROW_GROUP or size + part.nbytes > _ROW_GROUP_BYTES):
            yield pa.concat_tables(held)
            held, count, size = [], 0, 0
        held.append(part)
        count += part.num_rows
        size += part.nbytes
    if held:
        yield pa.concat_tables(held)


class FileWriter:
    """Writes files and returns what a manifest says of them.

    Args:
        objects: The store.
        fold: Name of the fold, unique to it.
    """

    def __init__(self, objects: ObjectStore, fold: str) -> None:
        self._objects = objects
        self._fold = fold
        self._count = 0

    def write(self, file: EncodedFile) -> FileEntry:
        """Put one file."""
        key = table_key(file.table, f"{self._fold}-{self._count}")
        self._count += 1
        self._objects.put_if_absent(key, file.data)
        digest = hashlib.sha256(file.data).hexdigest()
        return FileEntry(key=key, size=len(file.data), sha256=digest, rows=file.rows, columns=file.columns)

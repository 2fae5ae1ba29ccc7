"""Writes the Parquet files of one fold, each under a name that no other fold has."""

from __future__ import annotations

import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq

from checkmaite_analytics_store._layout import REFERENCES, RUNS, table_key
from checkmaite_analytics_store._manifest import FileEntry
from checkmaite_analytics_store._types import SCALARS
from checkmaite_storage import ObjectStore

__all__ = ["EncodedFile", "FileWriter"]

_ROW_GROUP = 65_536
"""Rows that a reader can skip at once by their statistics; small enough for one run's rows to be cheap to find."""


class EncodedFile:
    """One table's rows as the bytes of a Parquet file.

    Args:
        table: Whose rows they are.
        rows: The rows; they are sorted so that those of a run, or of an event, lie together.
    """

    def __init__(self, table: str, rows: pa.Table) -> None:
        order = "event_id" if table in (RUNS, REFERENCES) else "run_uid"
        buffer = io.BytesIO()
        pq.write_table(
            rows.sort_by(order),
            buffer,
            compression="zstd",
            write_page_checksum=True,
            row_group_size=_ROW_GROUP,
            sorting_columns=[pq.SortingColumn(rows.column_names.index(order))],
        )
        self.table = table
        self.data = buffer.getvalue()
        self.rows = rows.num_rows
        self.columns = tuple((field.name, SCALARS[field.type]) for field in rows.schema)


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

"""The files of one table after a fold: without superseded rows, and small ones merged."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from checkmaite_analytics_store._file_writer import EncodedFile, FileWriter, in_order, order_of
from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._layout import REFERENCES, RUNS
from checkmaite_analytics_store._manifest import FileEntry
from checkmaite_analytics_store._rows import without_runs
from checkmaite_analytics_store._settings import StoreSettings
from checkmaite_analytics_store._streams import changed, merged, pieces
from checkmaite_analytics_store._tiers import last_to_merge

__all__ = ["TableRewriter"]

_SMALL = 64 * 1024
"""Bytes below which a file is merged with whatever small ones there are."""


class TableRewriter:
    """Makes the new files of a fold's tables. Rows pass through memory a few at a time, whatever files unpack to.

    Args:
        reader: Reads the old files; each is checked against the manifest when it is read.
        writer: Writes the new ones.
        settings: How large merged files may grow.
        superseded: The run_uids whose folded rows no longer count.
    """

    def __init__(
        self, reader: FoldedReader, writer: FileWriter, settings: StoreSettings, superseded: Collection[str]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._settings = settings
        self._superseded = superseded
        self._wanted = pa.array(sorted(superseded), type=pa.string())

    def rewrite(self, table: str, entries: Sequence[FileEntry], added: pa.Table | None) -> tuple[FileEntry, ...]:
        """The table's files, given those of the manifest before and the new rows.

        Args:
            table: Its name.
            entries: Its files so far.
            added: Rows to add; None for none. Empty ones only make a file for a table that has none yet, which
                then tells its columns.
        """
        new = None if added is None or (added.num_rows == 0 and entries) else EncodedFile.of(table, added)
        count = self._mergeable(entries, len(new.data), new.rows) if new else 0
        judged = [(entry, self._is_outdated(table, entry)) for entry in entries]
        staying, merging = judged[: len(entries) - count], judged[len(entries) - count :]
        kept = [self._updated(table, entry) if outdated else entry for entry, outdated in staying]
        if new is None or added is None:
            return tuple(self._without_empty(kept))
        if merging:
            size = self._settings.raw_bytes // (4 * (len(merging) + 1))
            sources = [self._current(table, entry, size, outdated=outdated) for entry, outdated in merging]
            sources.append(pieces(in_order(table, added), size))
            columns = {name: kind for entry, _ in merging for name, kind in entry.columns} | dict(new.columns)
            new = EncodedFile(table, columns, merged(sources, columns, order_of(table)))
        return (*self._without_empty(kept, new), self._writer.write(new))

    def _mergeable(self, entries: Sequence[FileEntry], added: int, rows: int) -> int:
        count = last_to_merge([entry.size for entry in entries], added, limit=self._settings.merge_bytes, floor=_SMALL)
        while count and rows + sum(entry.rows for entry in entries[len(entries) - count :]) > self._settings.merge_rows:
            count -= 1
        return count

    def _is_outdated(self, table: str, entry: FileEntry) -> bool:
        if not self._superseded or table == REFERENCES:
            return False
        columns = ["run_uid", "is_current"] if table == RUNS else ["run_uid"]
        rows = self._reader.scan(entry, columns, "run_uid", self._superseded)
        return any(row.get("is_current", True) for row in rows)

    def _updated(self, table: str, entry: FileEntry) -> FileEntry:
        rows = self._current(table, entry, self._settings.raw_bytes // 8, outdated=True)
        return self._writer.write(EncodedFile(table, dict(entry.columns), rows))

    def _current(self, table: str, entry: FileEntry, size: int, *, outdated: bool) -> Iterator[pa.Table]:
        """Rows as they are now that some runs are superseded: payload goes, the table ``runs`` keeps the history."""
        rows = self._reader.chunks(entry, size=size)
        if not outdated:
            return rows
        if table != RUNS:
            return changed(rows, lambda part: without_runs(part, self._superseded))
        return changed(rows, self._flagged)

    def _flagged(self, rows: pa.Table) -> pa.Table:
        position = rows.column_names.index("is_current")
        outdated = pc.is_in(rows["run_uid"], value_set=self._wanted)
        flags = pc.and_(rows["is_current"], pc.invert(outdated))
        return rows.set_column(position, rows.schema.field(position), flags)

    def _without_empty(self, entries: Sequence[FileEntry], new: EncodedFile | None = None) -> list[FileEntry]:
        """Leave out files without rows, unless only they tell of a column."""
        kept = [entry for entry in entries if entry.rows]
        told = {column for entry in kept for column in entry.columns} | set(new.columns if new else ())
        for entry in entries:
            if not entry.rows and not told.issuperset(entry.columns):
                kept.append(entry)
                told.update(entry.columns)
        return kept

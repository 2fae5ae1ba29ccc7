"""Folded files that were set aside and are whole again: they are listed again, as far as they still count.

While a file was aside, folds went on without it. What has been replaced since must not come back:

- A file of references is as good as before.
- A file of ``runs`` may call events current that have newer ones in other files. Of the events of one run that several
  files call current, the newest stays it, and the rows of the others go.
- A file of any other table may hold rows of such events. Only the files of ``runs`` tell which, so it waits until none
  of them is aside.

There is one limit. While a file of ``runs`` is aside, an event that is folded drops the older rows of its run without
knowing whose they were. Should the file tell, on its return, that those were the newest all the same (which takes an
event that is folded after a newer one), they are gone: its run is in ``runs``, and its rows are nowhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from checkmaite_analytics_store._file_writer import EncodedFile, FileWriter
from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._inbox import why
from checkmaite_analytics_store._layout import REFERENCES, RUNS
from checkmaite_analytics_store._manifest import FileEntry, QuarantineEntry
from checkmaite_analytics_store._order import EventOrder, Stamp
from checkmaite_analytics_store._streams import changed
from checkmaite_core.errors import CorruptObjectError, StorageError

__all__ = ["Restorer"]

_UNKNOWN = Stamp("", 0)
_WAITS = "it is whole again, but which of its rows still count only a file of the table 'runs' tells that is aside too"

Tables = Mapping[str, tuple[FileEntry, ...]]


class Restorer:
    """Takes files back that were set aside. At most the events of two files are in memory, and some of their rows.

    Args:
        reader: Reads the files.
        writer: Writes those anew of which only a part still counts.
    """

    def __init__(self, reader: FoldedReader, writer: FileWriter) -> None:
        self._reader = reader
        self._writer = writer

    def restore(
        self, tables: Tables, aside: Iterable[QuarantineEntry]
    ) -> tuple[dict[str, tuple[FileEntry, ...]], list[QuarantineEntry]]:
        """What the next manifest should list of each table, and what should stay aside.

        Args:
            tables: The files that are listed and whole.
            aside: The files of tables that were set aside, now or earlier.

        Raises:
            CorruptObjectError: A file was whole a moment ago and is not any more.
            StorageError: The store cannot be read or written.
        """
        restored = dict(tables)
        back, still = self._sound_again(aside)
        for file in _files(back, REFERENCES):
            _place(restored, REFERENCES, file)
        if runs := _files(back, RUNS):
            self._return_runs(restored, runs)
        blind = any(entry.table == RUNS for entry in still)
        for entry in back:
            if entry.table in (RUNS, REFERENCES):
                continue
            if blind:
                still.append(entry.model_copy(update={"reason": _WAITS}))
            elif entry.table is not None and entry.file is not None:
                self._return_payload(restored, entry.table, entry.file)
        return restored, still

    def _sound_again(self, aside: Iterable[QuarantineEntry]) -> tuple[list[QuarantineEntry], list[QuarantineEntry]]:
        back, still = [], []
        for entry in aside:
            try:
                if entry.file is None:
                    still.append(entry)
                else:
                    self._reader.recheck(entry.file)
                    back.append(entry)
            except CorruptObjectError as error:
                still.append(entry.model_copy(update={"reason": why(error)}))
            except StorageError:
                still.append(entry)  # nothing is known of it that is new, and it must not keep the rest from its fold
        return back, still

    def _return_runs(self, tables: dict[str, tuple[FileEntry, ...]], files: Sequence[FileEntry]) -> None:
        """List files of ``runs`` again, and see to it that one event of each run is current, in all tables."""
        superseded: set[str] = set()
        # Each is compared with all that are listed by then; those that were listed agree among themselves.
        for file in files:
            returned = self._current(file)
            for other in tables.get(RUNS, ()):
                rivals = _of_both(returned, self._current(other))
                superseded |= self._all_but_newest(rivals, tables.get(REFERENCES, ()))
            _place(tables, RUNS, file)
        if superseded:
            for table in sorted(tables.keys() - {REFERENCES}):
                tables[table] = tuple(
                    self._without(table, entry, superseded) if self._holds(entry, superseded) else entry
                    for entry in tables[table]
                )

    def _current(self, file: FileEntry) -> pa.Table:
        """The events that a file of ``runs`` calls current."""
        rows = self._reader.read(file, ["event_id", "run_uid", "is_current", "committed_at"])
        return rows.filter(rows["is_current"])

    def _all_but_newest(self, rivals: pa.Table, references: Iterable[FileEntry]) -> set[str]:
        events = set(rivals["event_id"].to_pylist())
        stamps: dict[str, Stamp] = {}
        for entry in references:
            for row in self._reader.scan(entry, ["event_id", "writer", "sequence"], "event_id", events):
                stamps[row["event_id"]] = Stamp(row["writer"], row["sequence"])
        newest: dict[str, EventOrder] = {}
        for row in rivals.to_pylist():
            order = EventOrder(row["committed_at"], stamps.get(row["event_id"], _UNKNOWN), row["event_id"])
            newest[row["run_uid"]] = max(order, newest.get(row["run_uid"], order))
        return events - {order.event_id for order in newest.values()}

    def _holds(self, file: FileEntry, events: Collection[str]) -> bool:
        return any(True for _ in self._reader.scan(file, ["event_id"], "event_id", events))

    def _without(self, table: str, file: FileEntry, superseded: Collection[str]) -> FileEntry:
        gone = pa.array(sorted(superseded), type=pa.string())

        def change(rows: pa.Table) -> pa.Table:
            counts = pc.invert(pc.is_in(rows["event_id"], value_set=gone))
            if table != RUNS:
                return rows.filter(counts)
            position = rows.column_names.index("is_current")
            return rows.set_column(position, rows.schema.field(position), pc.and_(rows["is_current"], counts))

        return self._writer.write(EncodedFile(table, dict(file.columns), changed(self._reader.chunks(file), change)))

    def _return_payload(self, tables: dict[str, tuple[FileEntry, ...]], table: str, file: FileEntry) -> None:
        """List a file again, or in its place one of those of its rows whose events are current."""
        current = [_column(self._current(entry), "event_id") for entry in tables.get(RUNS, ())]
        wanted = pa.concat_arrays(current) if current else pa.array([], type=pa.string())

        def counting(rows: pa.Table) -> pa.Table:
            return rows.filter(pc.is_in(rows["event_id"], value_set=wanted))

        kept = sum(part.num_rows for part in changed(self._reader.chunks(file, ["event_id"]), counting))
        if kept == file.rows:
            _place(tables, table, file)
            return
        told = {column for entry in tables.get(table, ()) for column in entry.columns}
        if kept or not told.issuperset(file.columns):
            rows = changed(self._reader.chunks(file), counting)
            _place(tables, table, self._writer.write(EncodedFile(table, dict(file.columns), rows)))


def _files(entries: Iterable[QuarantineEntry], table: str) -> list[FileEntry]:
    return [entry.file for entry in entries if entry.table == table and entry.file is not None]


def _place(tables: dict[str, tuple[FileEntry, ...]], table: str, file: FileEntry) -> None:
    """Among the others by size, since a merge looks at the last ones and expects them to be the smallest."""
    entries = tables.get(table, ())
    position = next((place for place, entry in enumerate(entries) if entry.size < file.size), len(entries))
    tables[table] = (*entries[:position], file, *entries[position:])


def _of_both(one: pa.Table, other: pa.Table) -> pa.Table:
    """The rows of those runs that are in both."""
    shared = one.filter(pc.is_in(one["run_uid"], value_set=_column(other, "run_uid")))
    theirs = other.filter(pc.is_in(other["run_uid"], value_set=_column(shared, "run_uid")))
    return pa.concat_tables([shared, theirs])


def _column(rows: pa.Table, name: str) -> pa.Array:
    return rows[name].combine_chunks()

"""Rows as streams of small tables, so that memory does not grow with what they unpack to.

A file of some kilobytes can hold gigabytes of rows, since equal values compress to nothing. So files are read,
filtered, merged and written a few rows at a time, and what bounds their number is the size in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from checkmaite_analytics_store._columns import align
from checkmaite_core.record import ScalarType

__all__ = ["changed", "in_chunks", "merged", "pieces"]

_PROBE_ROWS = 16
_MOST_ROWS = 65_536


def in_chunks(file: pq.ParquetFile, size: int, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """A file's rows, in order, in tables of about ``size`` bytes in memory.

    How many rows that are is judged anew for every row group, by its first ones.
    """
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        at_once = rows
        if rows > _PROBE_ROWS:
            first = next(file.iter_batches(_PROBE_ROWS, row_groups=[group], columns=columns, use_threads=False))
            unpacked = file.metadata.row_group(group).total_byte_size // rows
            at_once = max(1, size // max(1, unpacked, first.nbytes // _PROBE_ROWS))
        for batch in file.iter_batches(
            min(at_once, _MOST_ROWS), row_groups=[group], columns=columns, use_threads=False
        ):
            yield from pieces(pa.Table.from_batches([batch]), size)


def pieces(rows: pa.Table, size: int) -> Iterator[pa.Table]:
    """A table in parts of about ``size`` bytes each; none of an empty one."""
    count = max(1, min(_MOST_ROWS, size * rows.num_rows // max(1, rows.nbytes)))
    for start in range(0, rows.num_rows, count):
        yield rows.slice(start, count)


def changed(rows: Iterable[pa.Table], change: Callable[[pa.Table], pa.Table]) -> Iterator[pa.Table]:
    """Every part, changed; those of which nothing is left are passed over."""
    for part in rows:
        new = change(part)
        if new.num_rows:
            yield new


def merged(sources: Sequence[Iterator[pa.Table]], columns: Mapping[str, ScalarType], order: str) -> Iterator[pa.Table]:
    """The rows of all sources in order; of each no more than one part is in memory.

    What can be given out at once is what is not greater than the last row in hand of any source, so one of them is used
    up each time, and read on.

    Args:
        sources: Each in the order of the column.
        columns: What the result has; a source that lacks one has nulls there.
        order: The column.
    """
    waiting = list(sources)
    parts: list[pa.Table] = []
    while waiting or parts:
        held: list[pa.Table] = []
        more: list[Iterator[pa.Table]] = []
        for number, source in enumerate(waiting):
            part = parts[number] if number < len(parts) and parts[number].num_rows else next(source, None)
            if part is not None:
                held.append(part)
                more.append(source)
        if not held:
            return
        limit = min(part[order][part.num_rows - 1].as_py() for part in held)
        ready, parts, waiting = [], [], more
        for part in held:
            taken = pc.sum(pc.less_equal(part[order], limit)).as_py()
            ready.append(align(part.slice(0, taken), columns))
            parts.append(part.slice(taken))
        yield from pieces(pa.concat_tables(ready).sort_by(order), max(1, sum(table.nbytes for table in ready)))

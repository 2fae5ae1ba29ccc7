"""What a fold holds in memory does not grow with what its files unpack to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_analytics_store._streams import in_chunks, merged, pieces
from checkmaite_core.record import Record, ScalarType

MIB = 2**20

FOLDS = """
import resource, sys, tracemalloc
from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_core.record import Record
sys.path.insert(0, sys.argv[2])
from store_worker import bundle_of

class Note(Record, table_name="notes"):
    text: str

root, runs, rows = sys.argv[1], int(sys.argv[3]), int(sys.argv[4])
store = AnalyticsStore(root, settings=StoreSettings(fold_after=0, fold_bytes=16 * 2**20, raw_bytes=64 * 2**20, grace=0))
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
note = Note(run_uid="warm", text="x")
store.commit(bundle_of("warm", "warm", [note]))
store.fold()
before = peak()
text = "An answer that is the same in every row. " * 100
for number in range(runs):
    run = f"run-{number}"
    store.commit(bundle_of(f"job-{number}", run, [Note(run_uid=run, text=text)] * rows))
    if number % 10 == 9:
        store.fold()
store.fold()
assert sum(1 for _ in store.files("notes")) < 10
again = bundle_of("job-again", "run-0", [Note(run_uid="run-0", text=text)])
store.commit(again)
store.fold()
assert store.verify().ok
print((peak() - before) // 1024)
"""


def grown_by(root: Path, runs: int, rows: int) -> int:
    """MiB by which the peak of a process grows that writes and folds, verifies and rewrites so much."""
    ended = subprocess.run(
        [sys.executable, "-c", FOLDS, str(root), str(Path(__file__).parent), str(runs), str(rows)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)


@pytest.mark.timeout(200)
def test_merging_files_that_unpack_to_much_takes_little_memory(root: Path) -> None:
    """400 MiB of rows, which are some kilobytes in their files."""
    assert grown_by(root, runs=100, rows=1_000) < 380


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_560_000_rows_of_one_text_are_folded_in_little_memory(root: Path) -> None:
    """2.2 GiB of rows; it was 6.1 GiB at the peak."""
    assert grown_by(root, runs=560, rows=1_000) < 450


class Word(Record, table_name="words"):
    text: str
    count: int | None = None


class WordsOnly(Record, table_name="words"):
    text: str


def test_merged_files_are_in_order_whole_and_have_all_columns(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, root: Path
) -> None:
    expected = []
    for number in (5, 3, 9, 1, 7, 2, 8, 4, 6, 0):
        run = f"run-{number}"
        kind = Word if number % 2 else WordsOnly
        rows = [kind(run_uid=run, text=f"{run} {row} " + "z" * 500) for row in range(300)]
        expected += [(run, row.text) for row in rows]
        open_store().commit(make.bundle_of(f"job-{number}", run, rows))
        open_store(raw_bytes=40_000).fold()
    with open_store() as store:
        (file,) = store.files("words")
        table = pq.read_table(file)
        runs = table["run_uid"].to_pylist()
        assert runs == sorted(runs)
        assert sorted(zip(runs, table["text"].to_pylist(), strict=True)) == sorted(expected)
        assert table.column_names == ["event_id", "run_uid", "text", "count"]
        assert store.verify().ok


keys = st.lists(st.sampled_from("abcdefg"), max_size=30).map(sorted)


@given(st.lists(keys, min_size=1, max_size=5), st.integers(1, 200))
def test_merging_streams_gives_every_row_once_and_in_order(sources: list[list[str]], size: int) -> None:
    columns = {"key": ScalarType.STRING, "n": ScalarType.INT64, "more": ScalarType.STRING}
    tables = [
        pa.table({"key": pa.array(rows, pa.string()), "n": pa.array([source] * len(rows), pa.int64())})
        for source, rows in enumerate(sources)
    ]
    found = [row for part in merged([pieces(one, size) for one in tables], columns, "key") for row in part.to_pylist()]
    assert [row["key"] for row in found] == sorted(key for rows in sources for key in rows)
    assert sorted((row["n"], row["key"]) for row in found) == [
        (n, key) for n, rows in enumerate(sources) for key in rows
    ]


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=60), st.integers(1, 20_000), st.integers(1, 30))
def test_a_file_is_read_in_parts_whatever_the_sizes_of_its_rows(lengths: list[int], size: int, group: int) -> None:
    table = pa.table({"text": ["x" * length for length in lengths]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=group)
    parts = list(in_chunks(pq.ParquetFile(pa.BufferReader(sink.getvalue())), size))
    assert pa.concat_tables(parts).equals(table)
    assert all(part.num_rows == 1 or part.nbytes <= 4 * size + 4 * max(lengths) + 100 for part in parts)

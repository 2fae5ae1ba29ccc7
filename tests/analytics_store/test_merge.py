"""Small folded files become larger ones, and nothing that a query shows changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_analytics_store._batch import first_batch
from checkmaite_analytics_store._tiers import last_to_merge
from checkmaite_core.errors import CorruptObjectError
from checkmaite_core.record import Record
from checkmaite_storage import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Open = Callable[..., AnalyticsStore]

SCORES = "SELECT * FROM scores ORDER BY ALL"


class Wider(Record, table_name="scores"):
    label: str
    value: float | None = None
    unit: str | None = None


def rows_in_files(store: AnalyticsStore, table: str) -> list[dict[str, Any]]:
    return [row for file in store.files(table) for row in pq.read_table(file).to_pylist()]


@given(st.lists(st.integers(1, 50), max_size=300))
def test_many_additions_leave_few_files_whatever_their_sizes(added: list[int]) -> None:
    sizes: list[int] = []
    written = 0
    for size in added:
        count = last_to_merge(sizes, size)
        merged = sum(sizes[len(sizes) - count :]) + size
        sizes = [*sizes[: len(sizes) - count], merged]
        written += merged
    assert sum(sizes) == sum(added)
    assert len(sizes) <= 2 + max(1, sum(added)).bit_length()
    assert written <= sum(added) * (3 + 2 * max(1, sum(added)).bit_length())


@given(st.lists(st.integers(1, 50), max_size=100), st.integers(1, 200))
def test_no_merged_file_is_larger_than_the_limit(added: list[int], limit: int) -> None:
    sizes: list[int] = []
    for size in added:
        count = last_to_merge(sizes, size, limit=limit)
        merged = sum(sizes[len(sizes) - count :]) + size
        assert count == 0 or merged <= limit
        sizes = [*sizes[: len(sizes) - count], merged]


def test_a_batch_is_bounded_in_events_and_bytes_and_never_empty() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    tail = [ObjectInfo(f"inbox/{name}.run", 100, moment) for name in "dbca"]

    def keys(**limits: int) -> tuple[list[str], list[str]]:
        taken, rest = first_batch(tail, {"inbox/a.run"}, **limits)
        return [info.key[6] for info in taken], [info.key[6] for info in rest]

    assert keys(events=9, size=1000) == (["b", "c", "d", "a"], [])
    assert keys(events=2, size=1000) == (["b", "c"], ["d", "a"])
    assert keys(events=9, size=250) == (["b", "c"], ["d", "a"])
    assert keys(events=9, size=1) == (["b"], ["c", "d", "a"])


def test_files_grow_together_over_many_folds(open_store: Open, make: ModuleType) -> None:
    store = open_store(grace=0)
    for number in range(40):
        store.commit(make.scores_of(f"job-{number}", f"run-{number % 30}", float(number)))
        store.fold()
    for table in ("scores", "runs"):
        assert len(store.files(table)) == 1
    assert len(rows_in_files(store, "scores")) == 30
    assert len(rows_in_files(store, "runs")) == 40


@pytest.mark.parametrize(("limit", "count"), [({"merge_bytes": 2000}, 12), ({"merge_rows": 4}, 3)])
def test_a_file_at_its_limit_is_left_alone(
    open_store: Open, make: ModuleType, limit: dict[str, int], count: int
) -> None:
    store = open_store(**limit)
    seen: set[str] = set()
    for number in range(12):
        store.commit(make.scores_of(f"job-{number}", f"run-{number}", float(number)))
        store.fold()
        seen.update(store.files("scores"))
    files = store.files("scores")
    assert len(files) == count
    assert len(seen) == 12
    assert sorted(row["value"] for row in rows_in_files(store, "scores")) == [float(number) for number in range(12)]


def test_merged_files_have_the_columns_of_all(open_store: Open, make: ModuleType) -> None:
    store = open_store()
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    store.fold()
    store.commit(make.bundle_of("job-2", "run-2", [Wider(run_uid="run-2", label="x", value=2.0, unit="m")]))
    store.fold()
    store.commit(make.scores_of("job-3", "run-3", 3.0))
    store.fold()
    (file,) = store.files("scores")
    assert pq.read_schema(file).names == ["event_id", "run_uid", "label", "value", "unit"]
    assert [row["unit"] for row in pq.read_table(file).to_pylist()] == [None, "m", None]
    assert store.query(SCORES).to_pylist() == sorted(pq.read_table(file).to_pylist(), key=lambda row: row["event_id"])


def test_superseded_rows_go_with_a_merge_and_the_last_ones_leave_the_columns(
    open_store: Open, make: ModuleType
) -> None:
    store = open_store()
    store.commit(make.bundle_of("job-1", "run-1", [Wider(run_uid="run-1", label="x", value=1.0, unit="m")]))
    store.fold()
    store.commit(make.scores_of("job-2", "run-1", 2.0))
    store.fold()
    assert [(row["event_id"], row["unit"]) for row in rows_in_files(store, "scores")] == [("job-2", None)]
    store.commit(make.bundle_of("job-3", "run-1", []))
    store.fold()
    assert rows_in_files(store, "scores") == []
    assert set(store.schema("scores")) == {"event_id", "run_uid", "label", "value", "unit"}
    assert store.query(SCORES).num_rows == 0


def flip_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(bytes(data))


def test_a_light_fold_names_a_damaged_file_that_it_had_to_read(open_store: Open, make: ModuleType, root: Path) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store().fold()
    victim = Path(open_store().files("scores")[0])
    flip_bit(victim)
    open_store().commit(make.scores_of("job-2", "run-2", 2.0))
    report = open_store()._folder.fold(thorough=False)
    assert report.quarantined == (victim.relative_to(root).as_posix(),)
    assert report.folded == 1


def test_a_light_fold_reads_no_file_that_it_does_not_change_but_sees_one_cut_short(
    open_store: Open, make: ModuleType, root: Path
) -> None:
    for number in range(2):
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number}", float(number)))
        open_store(merge_bytes=0).fold()
    flipped, short = sorted(map(Path, open_store().files("scores")))
    flip_bit(flipped)
    short.write_bytes(short.read_bytes()[:-1])
    open_store().commit(make.bundle_of("job-2", "run-2", []))
    report = open_store(merge_bytes=0)._folder.fold(thorough=False)
    assert report.quarantined == (short.relative_to(root).as_posix(),)
    with pytest.raises(CorruptObjectError, match=flipped.name):
        open_store().query(SCORES)
    assert len(open_store().fold().quarantined) == 2


def test_what_is_folded_in_many_steps_is_what_is_folded_in_one(open_store: Open, make: ModuleType, root: Path) -> None:
    for number in range(10):
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number % 4}", float(number), None))
    before = open_store().query(SCORES)
    report = open_store(fold_bytes=1).fold()
    assert (report.manifest, report.folded) == (10, 10)
    assert open_store().query(SCORES).equals(before)
    body = json.loads((root / "manifests" / "v0000000010.json").read_text())["body"]
    assert len(body["tables"]["scores"]) == 1

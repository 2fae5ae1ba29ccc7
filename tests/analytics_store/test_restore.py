"""Folded files that were set aside come back when they are whole again, and nothing outdated with them."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkmaite_analytics_store import AnalyticsStore, QuarantinedObjectWarning, StoreSettings
from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._manifest import FileEntry
from checkmaite_core.errors import AccessDeniedError
from checkmaite_core.record import Record
from checkmaite_storage import LocalObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Open = Callable[..., AnalyticsStore]


class Wider(Record, table_name="scores"):
    label: str
    value: float | None = None
    unit: str | None = None


class Damage:
    """Flips a bit of files, and puts it right again."""

    def __init__(self) -> None:
        self.healthy: dict[Path, bytes] = {}

    def to(self, *paths: str | Path) -> None:
        for path in map(Path, paths):
            data = self.healthy[path] = path.read_bytes()
            middle = len(data) // 2
            path.write_bytes(data[:middle] + bytes([data[middle] ^ 8]) + data[middle + 1 :])

    def undo(self, *paths: str | Path) -> None:
        for path in map(Path, paths) if paths else list(self.healthy):
            path.write_bytes(self.healthy.pop(path))


@pytest.fixture
def damage() -> Damage:
    return Damage()


def fold_one(open_store: Open, make: ModuleType, event: str, run: str, value: float, at: int | None = None) -> None:
    """Commit an event, at a time of the server's clock if one is given, and fold it into files of its own."""
    store = open_store(merge_bytes=0)
    store.commit(make.scores_of(event, run, value))
    if at is not None:
        os.utime(Path(store.uri.removeprefix("file://")) / "inbox" / f"{event}.run", (at, at))
    store.fold()


def folded(root: Path, table: str) -> list[Path]:
    return sorted((root / "tables" / table).iterdir())


def listed(root: Path) -> list[Path]:
    """All folded files that the newest manifest lists."""
    manifest = max(root.glob("manifests/*"), default=None)
    tables = json.loads(manifest.read_text())["body"]["tables"] if manifest else {}
    return [root / entry["key"] for files in tables.values() for entry in files]


def rows_in_files(store: AnalyticsStore, table: str) -> list[dict[str, Any]]:
    """What any other tool sees."""
    rows = [row for file in store.files(table) for row in pq.read_table(file).to_pylist()]
    return sorted(rows, key=lambda row: row["event_id"])


def scores(store: AnalyticsStore) -> list[tuple[str, float]]:
    """What the files show, which is what a query shows, too."""
    shown = [(row["event_id"], row["value"]) for row in rows_in_files(store, "scores")]
    assert shown == [
        tuple(row.values()) for row in store.query("SELECT event_id, value FROM scores ORDER BY 1").to_pylist()
    ]
    return shown


def current(store: AnalyticsStore) -> list[str]:
    return [row["event_id"] for row in rows_in_files(store, "runs") if row["is_current"]]


def all_is_well(store: AnalyticsStore) -> bool:
    with warnings.catch_warnings(action="error"):
        store.query("SELECT 1")
    return store.verify().ok


@pytest.mark.parametrize("table", ["scores", "runs", "_references"])
def test_a_file_that_still_counts_is_listed_again_as_it_is(
    open_store: Open, make: ModuleType, root: Path, damage: Damage, table: str
) -> None:
    for number in range(3):
        fold_one(open_store, make, f"job-{number}", f"run-{number}", float(number))
    before = sorted(root.rglob("*.parquet"))
    shown, references = scores(open_store()), [open_store().reference(f"job-{number}") for number in range(3)]
    victim = folded(root, table)[1]
    damage.to(victim)
    assert open_store().fold().quarantined == (victim.relative_to(root).as_posix(),)
    damage.undo()
    assert open_store().fold().quarantined == ()
    assert sorted(root.rglob("*.parquet")) == before
    assert scores(open_store()) == shown
    assert current(open_store()) == ["job-0", "job-1", "job-2"]
    assert [open_store().reference(f"job-{number}") for number in range(3)] == references
    assert all_is_well(open_store())


def test_a_file_that_is_still_damaged_stays_aside_and_its_reason_is_the_present_one(
    open_store: Open, make: ModuleType, root: Path, damage: Damage
) -> None:
    fold_one(open_store, make, "job-1", "run-1", 1.0)
    (victim,) = folded(root, "scores")
    damage.to(victim)
    first = open_store().fold()
    assert open_store().fold() == first
    damage.undo()
    data = victim.read_bytes()
    victim.write_bytes(data[:50])
    assert open_store().fold().quarantined == first.quarantined
    with pytest.warns(QuarantinedObjectWarning, match="it has 50 bytes"):
        open_store().query("SELECT 1")
    victim.unlink()
    assert open_store().fold().quarantined == first.quarantined
    victim.write_bytes(data)
    assert open_store().fold().quarantined == ()
    assert scores(open_store()) == [("job-1", 1.0)]


def test_a_fold_that_goes_by_listings_leaves_the_quarantine_alone(
    open_store: Open, make: ModuleType, root: Path, damage: Damage
) -> None:
    fold_one(open_store, make, "job-1", "run-1", 1.0)
    damage.to(*folded(root, "scores"))
    aside = open_store().fold().quarantined
    damage.undo()
    open_store().commit(make.scores_of("job-2", "run-2", 2.0))
    assert open_store()._folder.fold(thorough=False).quarantined == aside
    assert open_store().fold().quarantined == ()
    assert scores(open_store()) == [("job-1", 1.0), ("job-2", 2.0)]


def test_rows_that_were_replaced_while_their_file_was_aside_do_not_come_back(
    open_store: Open, make: ModuleType, root: Path, damage: Damage
) -> None:
    for number in range(3):
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number}", float(number)))
    open_store().fold()
    damage.to(*folded(root, "scores"))
    open_store().fold()
    fold_one(open_store, make, "job-3", "run-1", 3.0)
    damage.undo()
    assert open_store().fold().quarantined == ()
    assert scores(open_store()) == [("job-0", 0.0), ("job-2", 2.0), ("job-3", 3.0)]
    assert all_is_well(open_store())


def test_a_file_whose_rows_were_all_replaced_comes_back_for_its_columns_only(
    open_store: Open, make: ModuleType, root: Path, damage: Damage
) -> None:
    fold_one(open_store, make, "job-1", "run-1", 1.0)
    open_store().commit(make.bundle_of("job-2", "run-2", [Wider(run_uid="run-2", label="x", value=2.0, unit="m")]))
    open_store(merge_bytes=0).fold()
    damage.to(*folded(root, "scores"))
    open_store().fold()
    fold_one(open_store, make, "job-3", "run-1", 3.0)
    fold_one(open_store, make, "job-4", "run-2", 4.0)
    listed = open_store().files("scores")
    assert "unit" not in open_store().schema("scores")
    damage.undo()
    assert open_store().fold().quarantined == ()
    assert scores(open_store()) == [("job-3", 3.0), ("job-4", 4.0)]
    assert "unit" in open_store().schema("scores")
    assert len(open_store().files("scores")) == len(listed) + 1
    assert all_is_well(open_store())


def test_a_file_comes_back_beside_one_that_all_others_were_merged_into_and_merges_with_it_later(
    open_store: Open, make: ModuleType, root: Path, damage: Damage
) -> None:
    for number in range(5):
        fold_one(open_store, make, f"job-{number}", f"run-{number}", float(number))
    damage.to(folded(root, "scores")[2])
    open_store().commit(make.scores_of("job-5", "run-0", 5.0))
    open_store().fold()
    assert len(open_store().files("scores")) == 1
    damage.undo()
    assert open_store().fold().quarantined == ()
    wanted = [(f"job-{number}", float(number)) for number in range(1, 6)]
    assert scores(open_store()) == wanted
    open_store().commit(make.scores_of("job-6", "run-6", 6.0))
    open_store().fold()
    assert scores(open_store()) == [*wanted, ("job-6", 6.0)]
    assert len(open_store().files("scores")) == 1
    assert all_is_well(open_store())


def test_a_large_file_that_comes_back_does_not_keep_small_ones_from_growing_together(
    open_store: Open, make: ModuleType, root: Path, damage: Damage
) -> None:
    noise = random.Random(1)
    open_store().commit(make.scores_of("job-0", "run-0", *[noise.random() for _ in range(40_000)]))
    open_store().fold()
    damage.to(*folded(root, "scores"))
    for number in range(1, 3):
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number}", float(number)))
        open_store().fold()
        damage.undo()
        assert open_store().fold().quarantined == ()
    large, small = (pq.read_table(file)["event_id"].unique().to_pylist() for file in open_store().files("scores"))
    assert (large, small) == (["job-0"], ["job-1", "job-2"])


def test_payload_waits_for_the_file_of_runs_that_tells_what_of_it_counts(
    open_store: Open, make: ModuleType, root: Path, damage: Damage
) -> None:
    fold_one(open_store, make, "job-1", "run-1", 1.0)
    fold_one(open_store, make, "job-2", "run-2", 2.0)
    runs, payload = folded(root, "runs")[0], folded(root, "scores")[0]
    damage.to(runs, payload)
    open_store().fold()
    fold_one(open_store, make, "job-3", "run-1", 3.0)
    damage.undo(payload)
    waiting = open_store().fold()
    assert len(waiting.quarantined) == 2
    assert open_store().fold() == waiting
    with pytest.warns(QuarantinedObjectWarning, match=rf"{payload.name} \(it is whole again, but"):
        assert open_store().query("SELECT value FROM scores ORDER BY 1")["value"].to_pylist() == [2.0, 3.0]
    damage.undo(runs)
    assert open_store().fold().quarantined == ()
    assert scores(open_store()) == [("job-2", 2.0), ("job-3", 3.0)]
    assert current(open_store()) == ["job-2", "job-3"]
    assert all_is_well(open_store())


def test_a_file_of_runs_returns_the_history_and_calls_no_event_current_that_was_replaced(
    open_store: Open, make: ModuleType, root: Path, damage: Damage
) -> None:
    for number in range(2):
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number}", float(number)))
    open_store().fold()
    damage.to(*folded(root, "runs"))
    open_store().fold()
    fold_one(open_store, make, "job-2", "run-0", 2.0)
    damage.undo()
    assert open_store().fold().quarantined == ()
    assert [row["event_id"] for row in rows_in_files(open_store(), "runs")] == ["job-0", "job-1", "job-2"]
    assert current(open_store()) == ["job-1", "job-2"]
    assert scores(open_store()) == [("job-1", 1.0), ("job-2", 2.0)]
    assert all_is_well(open_store())


def test_two_files_of_runs_that_return_at_once_agree_on_what_is_current(
    open_store: Open, make: ModuleType, root: Path, damage: Damage
) -> None:
    fold_one(open_store, make, "job-1", "run-1", 1.0)
    damage.to(*folded(root, "runs"))
    fold_one(open_store, make, "job-2", "run-1", 2.0)
    damage.to(Path(open_store().files("runs")[0]))
    fold_one(open_store, make, "job-3", "run-1", 3.0)
    assert len(damage.healthy) == 2
    damage.undo()
    assert open_store().fold().quarantined == ()
    assert len(rows_in_files(open_store(), "runs")) == 3
    assert current(open_store()) == ["job-3"]
    assert scores(open_store()) == [("job-3", 3.0)]
    assert all_is_well(open_store())


@pytest.mark.parametrize("payload_too", [True, False])
def test_an_older_event_that_was_folded_meanwhile_does_not_stay_current(
    open_store: Open, make: ModuleType, root: Path, damage: Damage, payload_too: bool
) -> None:
    fold_one(open_store, make, "job-1", "run-1", 1.0, at=2000)
    damage.to(*folded(root, "runs"), *(folded(root, "scores") if payload_too else ()))
    open_store().fold()
    fold_one(open_store, make, "job-2", "run-1", 2.0, at=1000)
    with pytest.warns(QuarantinedObjectWarning):
        assert scores(open_store()) == [("job-2", 2.0)]
    damage.undo()
    assert open_store().fold().quarantined == ()
    assert current(open_store()) == ["job-1"]
    # Rows that were not aside themselves had to go when job-2 came, as nothing told that they are the newer ones.
    assert scores(open_store()) == ([("job-1", 1.0)] if payload_too else [])
    assert all_is_well(open_store())


def test_within_one_tick_of_the_servers_clock_the_order_of_the_commits_decides(
    open_store: Open, make: ModuleType, root: Path, damage: Damage
) -> None:
    fold_one(open_store, make, "job-b", "run-1", 1.0, at=1000)
    damage.to(*folded(root, "runs"), *folded(root, "_references"))
    open_store().fold()
    fold_one(open_store, make, "job-a", "run-1", 2.0, at=1000)
    damage.undo()
    assert open_store().fold().quarantined == ()
    assert current(open_store()) == ["job-a"]
    assert scores(open_store()) == [("job-a", 2.0)]


def test_a_file_that_may_not_be_read_stays_aside_and_keeps_no_fold_from_its_work(
    open_store: Open, make: ModuleType, root: Path, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold_one(open_store, make, "job-1", "run-1", 1.0)
    (victim,) = folded(root, "scores")
    damage.to(victim)
    aside = open_store().fold().quarantined
    whole = FoldedReader.recheck

    def denied(reader: FoldedReader, entry: FileEntry) -> None:  # a mode of the file does not keep root from reading
        if entry.key == aside[0]:
            raise AccessDeniedError(f"{entry.key} may not be read.", hint="Ask for the right.", uri=entry.key)
        whole(reader, entry)

    with monkeypatch.context() as patch:
        patch.setattr(FoldedReader, "recheck", denied)
        open_store().commit(make.scores_of("job-2", "run-2", 2.0))
        report = open_store().fold()
    assert (report.folded, report.quarantined) == (1, aside)
    damage.undo()
    assert open_store().fold().quarantined == ()
    assert scores(open_store()) == [("job-1", 1.0), ("job-2", 2.0)]


class Crash(BaseException):
    """Ends a fold where a kill would."""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fold_that_dies_at_any_put_while_it_takes_files_back_harms_nothing(
    open_store: Open, make: ModuleType, root: Path, damage: Damage, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    for number in range(2):
        open_store().commit(make.scores_of(f"job-{number}", f"run-{number}", float(number)))
    open_store().fold()
    damage.to(*folded(root, "runs"), *folded(root, "scores"))
    open_store().fold()
    fold_one(open_store, make, "job-2", "run-0", 2.0)
    damage.undo()
    put = LocalObjectStore.put_if_absent
    puts: list[str] = []
    for deadly in itertools.count(1):
        copy = root.with_name(f"copy-{deadly}")
        shutil.copytree(root, copy)
        puts.clear()

        def dying(objects: LocalObjectStore, key: str, data: bytes, deadly: int = deadly) -> None:
            puts.append(key)
            if len(puts) == deadly and when == "before":
                raise Crash
            put(objects, key, data)
            if len(puts) == deadly:
                raise Crash

        with monkeypatch.context() as patch:
            patch.setattr(LocalObjectStore, "put_if_absent", dying)
            try:
                AnalyticsStore(copy).fold()
            except Crash:
                survived = False
            else:
                survived = True
        with AnalyticsStore(copy) as store:
            assert store.fold().quarantined == ()
            assert scores(store) == [("job-1", 1.0), ("job-2", 2.0)]
            assert current(store) == ["job-1", "job-2"]
            assert all_is_well(store)
        if survived:
            break
    assert [key.split("/")[0] for key in puts[:3]] == ["tables", "tables", "manifests"]  # then it cleans up


Steps = st.lists(
    st.tuples(st.sampled_from(["write", "write", "damage", "damage", "undo", "fold"]), st.integers(0, 30)), max_size=14
)


@settings(max_examples=10, deadline=None)
@given(steps=Steps)
def test_whatever_breaks_and_returns_in_between_every_event_is_there_at_the_end(make: ModuleType, steps: Any) -> None:
    with TemporaryDirectory(prefix="checkmaite-restore-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", QuarantinedObjectWarning)
        root, damage = Path(folder) / "store", Damage()
        newest: dict[str, tuple[str, float]] = {}
        events = [f"job-{number:02}" for number in range(len(steps) + 1)]

        def write(number: int) -> None:
            event, run = events[number], f"run-{number % 3}"
            AnalyticsStore(root).commit(make.scores_of(event, run, float(number)))
            newest[run] = event, float(number)

        def fold() -> AnalyticsStore:
            AnalyticsStore(root, settings=StoreSettings(merge_bytes=1500)).fold()
            return AnalyticsStore(root)

        write(0)
        committed = 1
        for action, choice in steps:
            if action == "write":
                write(committed)
                committed += 1
            elif action == "damage":
                sound = [path for path in listed(root) if path not in damage.healthy]
                damage.to(*sound[choice % len(sound) :][:1] if sound else ())
            elif action == "undo" and damage.healthy:
                damage.undo(list(damage.healthy)[choice % len(damage.healthy)])
            elif action == "fold":
                store = fold()
                shown = scores(store) if "scores" in store.tables() else []
                assert set(shown) <= set(newest.values())
        damage.undo()
        store = fold()
        assert scores(store) == sorted(newest.values())
        assert current(store) == sorted(event for event, _ in newest.values())
        assert [row["event_id"] for row in rows_in_files(store, "runs")] == events[:committed]
        assert all(store.reference(event) is not None for event in events[:committed])
        assert all_is_well(store)

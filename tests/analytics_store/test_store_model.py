"""The store against a dict: any order of commits, repeats, settlements, folds, races, crashes, damage and time."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import pyarrow.parquet as pq
import pytest
from faulty import Crash
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from model_world import Stepped, World

from checkmaite_analytics_store import AnalyticsStore, QuarantinedObjectWarning, StoreSettings
from checkmaite_core.errors import (
    CorruptObjectError,
    EventAbandonedError,
    SchemaError,
    StoreError,
)
from checkmaite_core.record import Record
from checkmaite_core.report import InlineTextReport
from checkmaite_core.store import RunBundle

HOUR = 3600
DAY = 24 * HOUR


class Wide(Record, table_name="scores"):
    label: str
    value: float | None = None
    extra: int | None = None


class Retyped(Record, table_name="scores"):
    label: str
    value: str | None = None


EVENTS = st.integers(0, 6).map("job-{}".format)
PROCESSES = st.integers(0, 1)
ROWS = st.lists(st.none() | st.integers(-9, 9), max_size=3)
DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda _: b"",
    lambda data: data[: len(data) // 2],
    lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    lambda data: data + b"\0",
    lambda _: b"<html>service unavailable</html>",
]
KINDS = st.sampled_from(["Score", "Score", "Wide", "Retyped"])
COMMITS = st.tuples(EVENTS, st.integers(0, 2).map("run-{}".format), ROWS, KINDS, st.booleans())
STOPS = st.one_of(
    st.integers(1, 9),
    st.sampled_from(["put inbox/", "put manifests/", "delete inbox/", "list inbox/", "list manifests/"]),
)
ACTIONS = st.one_of(
    st.tuples(st.just("commit"), COMMITS),
    st.tuples(st.just("settle"), EVENTS),
    *[st.just((name, None)) for name in ("fold", "ask", "vacuum", "maintain")],
)


FIRST = st.lists(COMMITS, min_size=4, max_size=6)
INTERRUPTED = st.one_of(st.tuples(st.just("commit"), COMMITS), *[st.just((n, None)) for n in ("fold", "ask", "vacuum")])


class StoreMachine(RuleBasedStateMachine):
    """Two processes act and a third reads, one after the other; operations of others stand still in their midst."""

    make: ModuleType

    @initialize(local=st.booleans(), batch=st.sampled_from([2, 20_000]), merge=st.sampled_from([0, 2**25]), first=FIRST)
    def begin(self, local: bool, batch: int, merge: int, first: list[Any]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="checkmaite-model-"))
        kept = StoreSettings(grace=10, fold_after=0, fold_batch=batch, merge_bytes=merge)
        self.world = World(self.folder / "store", local, kept)
        self.opened = [self.world.process() for _ in range(3)]
        self.slow: list[Stepped] = []
        self.damaged: dict[str, bytes] = {}
        self.ever_damaged: set[str] = set()
        self.lost: set[str] = set()
        self.known: WeakKeyDictionary[AnalyticsStore, set[str]] = WeakKeyDictionary()
        self.told: WeakKeyDictionary[AnalyticsStore, dict[str, object]] = WeakKeyDictionary()
        self.looked = 0
        for number, commit in enumerate(first):
            self.do(self.opened[number % 2][0], ("commit", commit))

    def do(self, store: AnalyticsStore, action: tuple[str, Any]) -> None:
        """One operation, and whether its answer can be: the world tells what the puts have decided."""
        name, argument = action
        if name == "commit":
            self.commit(store, *argument)
        elif name == "settle":
            with self.damage_allowed(argument):
                reference = store.settle(argument)
                if reference is None:
                    assert argument in self.world.abandoned
                else:
                    assert reference == self.world.committed[argument].reference
        elif name == "ask":
            self.look(store, alone=False)
        elif name == "maintain":
            with self.too_late():
                store.maintain()
        elif name == "vacuum":
            with self.damage_allowed():
                store.vacuum()
        else:
            with self.too_late():
                before = self.folded_runs()
                report = store.fold()
                if not self.slow:
                    assert report.folded == self.folded_runs() - before

    def commit(self, store: AnalyticsStore, event: str, run: str, rows: list[Any], kind: str, report: bool) -> None:
        told = self.told.get(store, {}).get(event)
        bundle = self.bundle(store, event, run, rows, kind, report)
        known = self.known.setdefault(store, set(self.world.removed))  # the first commit reads the newest index
        try:
            with self.damage_allowed(event):
                receipt = store.commit(bundle)
                self.check_receipt(receipt.created, receipt.reference, bundle, known, told)
                self.told.setdefault(store, {})[event] = receipt.reference
        except SchemaError:
            assert not self.fits(bundle)
        except EventAbandonedError:
            assert event in self.world.abandoned
        else:
            assert self.fits(bundle)

    def bundle(
        self, store: AnalyticsStore, event: str, run: str, rows: list[Any], kind: str, report: bool
    ) -> RunBundle:
        make = {"Score": self.make.Score, "Wide": Wide, "Retyped": Retyped}[kind]
        shown = [
            {"label": str(n), "value": value if value is None else str(value) if kind == "Retyped" else float(value)}
            | ({"extra": n} if kind == "Wide" else {})
            for n, value in enumerate(rows)
        ]
        kept = store.put_report(event, InlineTextReport(content=f"report of {event}")) if report else None
        bundle: RunBundle = self.make.bundle_of(event, run, [make(run_uid=run, **row) for row in shown], kept)
        self.world.rows[bundle.reference.created_at] = shown
        return bundle

    def fits(self, bundle: RunBundle) -> bool:
        return all(
            self.world.types[table.table, name] is kind
            for table in bundle.tables
            for name, kind in table.columns.items()
            if name != "run_uid" and (table.table, name) in self.world.types
        )

    def check_receipt(self, created: bool, reference: object, bundle: RunBundle, known: set[str], told: object) -> None:
        stored = self.world.committed.get(bundle.event_id)
        if stored is not None and stored.reference == reference:
            return
        if not created and told == reference:  # to its repeats a process says what it said before
            return
        # Only of an event that has left the inbox may a process that did not know it think that it is the first.
        assert created
        assert bundle.event_id in self.world.removed - known

    @contextlib.contextmanager
    def damage_allowed(self, *events: str) -> Iterator[None]:
        """An object that is damaged now, of one of these events (of any, if none is named), may be named."""
        try:
            yield
        except CorruptObjectError as error:
            keys = {f"inbox/{event}.run" for event in events} & self.damaged.keys() or self.damaged.keys()
            if not any(error.uri.endswith(key) for key in {*keys, *self.lost}):
                raise

    @contextlib.contextmanager
    def too_late(self) -> Iterator[None]:
        begun = self.world.elapsed()
        try:
            with self.damage_allowed():
                yield
        except StoreError as error:
            if "took longer than" not in error.message or self.world.elapsed() - begun <= HOUR:
                raise

    def look(self, store: AnalyticsStore, *, alone: bool = True) -> None:
        """What a reader sees: all that had been committed when it began, nothing that never was, each row once."""
        before, removed = set(self.world.committed), set(self.world.removed)
        with self.damage_allowed(), no_warnings():
            history = store.query("SELECT event_id, run_uid, is_current, committed_at FROM runs").to_pylist()
            scores = store.query("SELECT * FROM scores").to_pylist() if "scores" in store.tables() else []
            self.known.get(store, set()).update(removed)
            after = self.world.committed
            seen = {row["event_id"]: row for row in history}
            assert len(seen) == len(history)
            unreadable = {*self.damaged, *self.world.quarantined()} if alone else self.ever_damaged
            assert {event for event in before if f"inbox/{event}.run" not in unreadable} <= seen.keys() <= after.keys()
            newest: dict[str, tuple[Any, ...]] = {}
            for event, row in seen.items():
                assert row["run_uid"] == after[event].reference.run_uid
                assert row["committed_at"] == after[event].order[0]
                newest[row["run_uid"]] = max(after[event].order, newest.get(row["run_uid"], after[event].order))
            if alone:  # else the two queries can have seen two states
                current = {order[-1] for order in newest.values()}
                assert {event for event, row in seen.items() if row["is_current"]} == current
                self.check_rows(scores, current)

    def check_rows(self, scores: list[dict[str, Any]], current: set[str]) -> None:
        expected = [
            {"extra": None} | row | {"event_id": event, "run_uid": self.world.committed[event].reference.run_uid}
            for event in current
            for row in self.world.committed[event].rows
        ]
        found = [{"extra": None} | row for row in scores]
        assert sorted(map(canonical, found)) == sorted(map(canonical, expected))

    # Whole operations

    @rule(process=st.integers(0, 2))
    def start_a_new_process(self, process: int) -> None:
        self.opened[process][0].close()
        self.opened[process] = self.world.process()

    @rule(process=PROCESSES, commit=COMMITS)
    def commit_a_run(self, process: int, commit: Any) -> None:
        self.do(self.opened[process][0], ("commit", commit))

    @rule(process=PROCESSES, action=ACTIONS)
    def act(self, process: int, action: Any) -> None:
        self.do(self.opened[process][0], action)

    @rule(process=PROCESSES, action=ACTIONS, point=st.integers(0, 40))
    def die_while_acting(self, process: int, action: Any, point: int) -> None:
        store, objects = self.opened[process]
        objects.dies_at = point
        with contextlib.suppress(Crash):
            self.do(store, action)
        self.start_a_new_process(process)

    @rule(process=PROCESSES, action=st.just(("fold", None)) | ACTIONS, put=st.integers(0, 1))
    def lose_an_answer_while_acting(self, process: int, action: Any, put: int) -> None:
        store, objects = self.opened[process]
        objects.loses_answer_to = put
        self.do(store, action)
        objects.loses_answer_to = None

    @precondition(lambda self: self.world.removed)
    @rule(process=PROCESSES, which=st.integers(0, 9), commit=COMMITS)
    def come_late(self, process: int, which: int, commit: Any) -> None:
        """With an event that has left the inbox."""
        event = sorted(self.world.removed)[which % len(self.world.removed)]
        self.do(self.opened[process][0], ("commit", (event, *commit[1:])))
        self.do(self.opened[1 - process][0], ("settle", event))

    @rule()
    def fold_and_remove(self) -> None:
        self.fresh(lambda store: self.do(store, ("fold", None)))
        self.world.wait(hours=20 / HOUR)
        self.fresh(lambda store: self.do(store, ("fold", None)))

    @rule()
    def vacuum_a_day_later(self) -> None:
        self.world.wait(hours=25)
        self.fresh(lambda store: self.do(store, ("vacuum", None)))

    @rule(seconds=st.sampled_from([1, 20, HOUR + 20, DAY + 20]))
    def let_time_pass(self, seconds: int) -> None:
        self.world.wait(hours=seconds / HOUR)

    # Operations in the middle of which others happen

    @precondition(lambda self: len(self.slow) < 2)
    @rule(action=ACTIONS, to=STOPS)
    def begin_slowly(self, action: Any, to: int | str) -> None:
        self.slow.append(Stepped(self.world, lambda store: self.do(store, action)))
        self.go_on(len(self.slow) - 1, to)

    @rule(new=COMMITS, action=INTERRUPTED, to=STOPS, by=st.sampled_from(["fold_and_remove", "vacuum_a_day_later"]))
    def interrupt(self, new: Any, action: Any, to: int | str, by: str) -> None:
        self.do(self.opened[0][0], ("commit", new))
        slow = Stepped(self.world, lambda store: self.do(store, action))
        self.slow.append(slow)
        self.go_on(len(self.slow) - 1, to)
        getattr(self, by)()
        if slow in self.slow:
            self.go_on(self.slow.index(slow), None)

    @precondition(lambda self: self.slow)
    @rule(which=st.integers(0, 1), to=STOPS | st.none())
    def go_on(self, which: int, to: int | str | None) -> None:
        slow = self.slow[min(which, len(self.slow) - 1)]
        try:
            slow.go_on(to)
        finally:
            if slow.done:
                self.slow.remove(slow)

    def finish(self) -> None:
        while self.slow:
            self.go_on(0, None)

    # Damage, and its end

    @precondition(lambda self: self.world.committed)
    @rule(which=st.integers(0, 9), damage=st.sampled_from(DAMAGES))
    def damage_an_event(self, which: int, damage: Callable[[bytes], bytes]) -> None:
        kept = sorted((self.world.root / "inbox").glob("*.run"))
        if kept:
            path = kept[which % len(kept)]
            key = f"inbox/{path.name}"
            if key not in self.damaged:
                self.damaged[key] = path.read_bytes()
                self.ever_damaged.add(key)
                self.overwrite(path, damage(path.read_bytes()))

    @precondition(lambda self: self.damaged)
    @rule()
    def restore_and_fold(self) -> None:
        for key, data in self.damaged.items():
            path = self.world.root / key
            if path.exists():  # else it had been folded before it was damaged, and has been removed
                self.overwrite(path, data)
        self.damaged.clear()
        self.fresh(lambda store: store.fold())

    @precondition(lambda self: len(self.world.manifests()) > 1 and self.lost.isdisjoint(self.newest_two()))
    @rule(damage=st.sampled_from(DAMAGES))
    def lose_the_newest_manifest(self, damage: Callable[[bytes], bytes]) -> None:
        newest = self.world.manifests()[-1]
        self.lost.add(f"manifests/{newest.name}")
        self.overwrite(newest, damage(newest.read_bytes()))
        with pytest.raises(CorruptObjectError, match=newest.name):
            self.fresh(lambda store: store.query("SELECT * FROM runs"))
        report = self.fresh(lambda store: store.fold())
        assert report.repaired == (f"manifests/{newest.name}",)

    def folded_runs(self) -> int:
        """Rows of the table ``runs`` that the newest manifest has."""
        found = [path for path in self.world.manifests() if f"manifests/{path.name}" not in self.lost]
        files = json.loads(found[-1].read_bytes())["body"]["tables"].get("runs", []) if found else []
        return sum(entry["rows"] for entry in files)

    def newest_two(self) -> set[str]:
        return {f"manifests/{path.name}" for path in self.world.manifests()[-2:]}

    def overwrite(self, path: Path, data: bytes) -> None:
        made = path.stat().st_mtime
        path.write_bytes(data)
        os.utime(path, (made, made))

    def fresh(self, action: Callable[[AnalyticsStore], Any]) -> Any:
        with self.world.process()[0] as store:
            return action(store)

    # What must hold

    @invariant()
    def every_reader_sees_what_was_committed(self) -> None:
        self.looked += 1
        if self.looked % 3:
            self.look(self.opened[2][0])
        else:  # opening DuckDB is what takes longest here
            self.fresh(self.look)

    @rule()
    def come_to_rest(self) -> None:
        """When nobody is at work and nothing is damaged, everything is folded, and plain files say what queries say."""
        self.finish()
        self.restore_and_fold()
        for _ in range(3):
            self.world.wait(hours=20 / HOUR)
            self.fresh(lambda store: store.fold())
        assert list((self.world.root / "inbox").glob("*")) == []
        self.fresh(self.check_at_rest)

    def check_at_rest(self, store: AnalyticsStore) -> None:
        findings = {finding.key for finding in store.verify().findings}
        assert findings <= self.lost
        for event, committed in self.world.committed.items():
            assert store.reference(event) == committed.reference
            if committed.reference.report is not None:
                assert store.read_report(committed.reference) == f"report of {event}"
        assert not any(store.reference(event) for event in self.world.abandoned)
        runs = [row for file in store.files("runs") for row in pq.read_table(file).to_pylist()]
        assert sorted(row["event_id"] for row in runs) == sorted(self.world.committed)
        if "scores" in store.tables():
            scores = [row for file in store.files("scores") for row in pq.read_table(file).to_pylist()]
            self.check_rows(scores, {row["event_id"] for row in runs if row["is_current"]})

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            for slow in self.slow:
                slow.end()
            for store, _ in self.opened:
                store.close()
            shutil.rmtree(self.folder)


def canonical(row: dict[str, Any]) -> str:
    return repr(sorted(row.items()))


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuarantinedObjectWarning)
        yield


def check(make: ModuleType, examples: int, steps: int, *, same: bool) -> None:
    StoreMachine.make = make
    kept = settings(max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=same)
    run_machine(StoreMachine, settings=kept)


@pytest.mark.timeout(300)
def test_the_store_behaves_as_a_dict_of_events_would(make: ModuleType) -> None:
    check(make, examples=25, steps=12, same=True)


@pytest.mark.soak
def test_the_store_behaves_as_a_dict_of_events_would_for_long(make: ModuleType) -> None:
    check(make, examples=600, steps=50, same=False)

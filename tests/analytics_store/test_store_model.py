"""The store against a dict: any order of commits, repeats, newer events, settlements, folds and new processes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_core.errors import EventAbandonedError

if TYPE_CHECKING:
    from types import ModuleType

    from checkmaite_core.reference import CapabilityRunRef

events = st.integers(0, 7).map("job-{}".format)
runs = st.integers(0, 2).map("run-{}".format)
values = st.lists(st.none() | st.floats(allow_nan=False), max_size=3)
stores = st.integers(0, 1)


class StoreMachine(RuleBasedStateMachine):
    """Two store objects stand for two processes; each may know less than the other."""

    make: ModuleType

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="checkmaite-model-")
        self.opened = [self.open(), self.open()]
        self.committed: dict[str, tuple[CapabilityRunRef, tuple[float | None, ...]]] = {}
        self.abandoned: set[str] = set()
        self.removed_unseen: set[str] = set()

    def open(self) -> AnalyticsStore:
        return AnalyticsStore(Path(self.folder) / "store", settings=StoreSettings(grace=0))

    @rule(store=stores)
    def start_a_new_process(self, store: int) -> None:
        self.opened[store].close()
        self.opened[store] = self.open()

    @rule(store=stores, event=events, run=runs, rows=values, second=st.booleans())
    def commit(self, store: int, event: str, run: str, rows: list[float | None], second: bool) -> None:
        records = [self.make.Score(run_uid=run, label=str(n), value=value) for n, value in enumerate(rows)]
        if second:
            records.append(self.make.Everything(run_uid=run, whole=len(rows)))
        bundle = self.make.bundle_of(event, run, records)
        try:
            receipt = self.opened[store].commit(bundle)
        except EventAbandonedError:
            assert event in self.abandoned
            return
        if event not in self.committed and event not in self.abandoned:
            assert receipt.created
            assert receipt.reference == bundle.reference
            self.committed[event] = receipt.reference, tuple(rows)
        elif not receipt.created:
            assert receipt.reference == self.committed[event][0]
        else:
            # Only of an event that left the inbox, unseen by this process, may a repeat think that it was first.
            assert event in self.removed_unseen

    @rule(store=stores, event=events)
    def settle(self, store: int, event: str) -> None:
        reference = self.opened[store].settle(event)
        if event in self.committed:
            assert reference == self.committed[event][0]
        else:
            assert reference is None
            self.abandoned.add(event)

    @rule(store=stores)
    def fold(self, store: int) -> None:
        report = self.opened[store].fold()
        assert report.quarantined == ()
        self.removed_unseen = {*self.committed, *self.abandoned}

    @invariant()
    def every_reader_sees_exactly_what_was_committed(self) -> None:
        for store in [*self.opened[:1], self.open()]:
            history = store.query("SELECT event_id, run_uid, is_current, committed_at FROM runs").to_pylist()
            assert sorted(row["event_id"] for row in history) == sorted(self.committed)
            newest: dict[str, tuple[Any, str]] = {}
            for row in history:
                reference = self.committed[row["event_id"]][0]
                assert row["run_uid"] == reference.run_uid
                order = row["committed_at"], row["event_id"]
                newest[row["run_uid"]] = max(order, newest.get(row["run_uid"], order))
            current = {event for _, event in newest.values()}
            assert {row["event_id"] for row in history if row["is_current"]} == current
            tables = store.tables()
            if "scores" in tables:
                found = store.query("SELECT event_id, label, value FROM scores ORDER BY event_id, label").to_pylist()
                assert found == [
                    {"event_id": event, "label": str(n), "value": value}
                    for event in sorted(current)
                    for n, value in enumerate(self.committed[event][1])
                ]
            else:
                assert not any(rows for _, rows in self.committed.values())
            if store not in self.opened:
                store.close()

    @invariant()
    def everything_on_disk_is_whole(self) -> None:
        assert self.opened[0].verify().ok

    def teardown(self) -> None:
        for store in self.opened:
            store.close()
        shutil.rmtree(self.folder)


@pytest.mark.timeout(300)
def test_the_store_behaves_as_a_dict_of_events_would(make: ModuleType) -> None:
    StoreMachine.make = make
    run_state_machine_as_test(StoreMachine, settings=settings(max_examples=15, stateful_step_count=14, deadline=None))

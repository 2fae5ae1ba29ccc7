"""Standard tests of a result store: several objects, threads and processes on one location."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from checkmaite_core.errors import EventAbandonedError, SchemaError
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.store import AnalyticsStoreConfig, CommitReceipt, ResultStore, open_result_store
from checkmaite_core.testing._bundles import make_bundle
from checkmaite_core.testing._reading import rows_of
from checkmaite_core.testing._store_base import StoreTests
from checkmaite_core.testing._waiting import DEADLINE

__all__ = ["SharingTests"]

T = TypeVar("T")

_RACERS = 8

_OTHER_PROCESS = """
import sys
from checkmaite_core.store import AnalyticsStoreConfig, open_result_store
from checkmaite_core.testing._bundles import make_bundle
from checkmaite_core.testing._reading import rows_of

store = open_result_store(AnalyticsStoreConfig.model_validate_json(sys.stdin.read()))
print(*sorted(row["event_id"] for row in rows_of(store, "runs")))
store.commit(make_bundle(store, "job-of-another-process", "run-2", {"scores": [{"score": 0.75, "added": "here"}]}))
print(store.commit(make_bundle(store, "job-1", "run-1", {})).created)
"""


class SharingTests(StoreTests, standard=True):
    """Several at once."""

    def test_two_objects_on_one_location_see_each_other(
        self, store: ResultStore, store_config: AnalyticsStoreConfig
    ) -> None:
        other = open_result_store(store_config)
        assert other.uri == store.uri
        store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.5}]}))
        other.commit(make_bundle(other, "job-2", "run-2", {"scores": [{"score": 0.75, "added": "later"}]}))
        assert not other.commit(make_bundle(other, "job-1", "run-1", {})).created
        assert other.settle("job-3") is None
        for each in (store, other):
            assert self.events(each) == ["job-1", "job-2"]
            assert self.column(each, "scores", "added") == ["later", None]
            assert each.settle("job-3") is None
        other.close()
        assert self.events(store) == ["job-1", "job-2"]

    def test_other_processes_see_it_if_it_is_durable(
        self, store: ResultStore, store_config: AnalyticsStoreConfig
    ) -> None:
        store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.5}]}))
        if not self.promises.is_durable:
            # It lives in this process, so that its end is the end of the results: nothing to be seen elsewhere.
            store.close()
            again = open_result_store(store_config)
            assert self.events(again) == ["job-1"]
            return
        other = subprocess.run(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-c", _OTHER_PROCESS],
            input=store_config.model_dump_json(),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert other.returncode == 0, other.stderr
        assert other.stdout.splitlines() == ["job-1", "False"]
        assert self.events(store) == ["job-1", "job-of-another-process"]
        assert self.column(store, "scores", "added") == ["here", None]

    def test_of_many_racing_commits_of_one_event_one_is_made(self, store_config: AnalyticsStoreConfig) -> None:
        def commit(store: ResultStore, racer: int) -> CommitReceipt:
            return store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": float(racer)}]}))

        receipts = self._race(store_config, commit)
        assert sorted(receipt.created for receipt in receipts) == [False] * (_RACERS - 1) + [True]
        (winner,) = [racer for racer, receipt in enumerate(receipts) if receipt.created]
        assert len({receipt.reference.created_at for receipt in receipts}) == 1
        store = open_result_store(store_config)
        assert self.column(store, "scores", "score") == [float(winner)]
        assert self.events(store) == ["job-1"]

    def test_commits_that_race_with_settling_agree_on_one_outcome(self, store_config: AnalyticsStoreConfig) -> None:
        def act(store: ResultStore, racer: int) -> CapabilityRunRef | None:
            if racer % 2:
                return store.settle("job-1")
            try:
                return store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 1.0}]})).reference
            except EventAbandonedError:
                return None

        outcomes = self._race(store_config, act)
        store = open_result_store(store_config)
        if None in outcomes:
            assert set(outcomes) == {None}
            assert (self.events(store), rows_of(store, "scores")) == ([], [])
        else:
            assert len({reference.created_at for reference in outcomes if reference is not None}) == 1
            assert (self.events(store), self.column(store, "scores", "score")) == (["job-1"], [1.0])

    def test_of_two_types_that_race_for_a_new_column_one_wins(self, store_config: AnalyticsStoreConfig) -> None:
        def act(store: ResultStore, racer: int) -> str | None:
            value = "text" if racer % 2 else 7
            try:
                store.commit(make_bundle(store, f"job-{racer}", f"run-{racer}", {"scores": [{"disputed": value}]}))
            except SchemaError:
                return None
            return type(value).__name__

        won = {kind for kind in self._race(store_config, act) if kind is not None}
        store = open_result_store(store_config)
        assert len(won) == 1
        assert {type(value).__name__ for value in self.column(store, "scores", "disputed")} == won
        assert len(self.events(store)) == _RACERS // 2

    def test_many_writers_lose_nothing(self, store_config: AnalyticsStoreConfig) -> None:
        def write_some(store: ResultStore, racer: int) -> None:
            for number in range(10):
                key = f"{racer}-{number}"
                store.commit(make_bundle(store, f"job-{key}", f"run-{key}", {"scores": [{"score": float(number)}]}))

        self._race(store_config, write_some)
        store = open_result_store(store_config)
        assert len(set(self.events(store))) == _RACERS * 10
        assert len(rows_of(store, "scores")) == _RACERS * 10

    def test_maintenance_beside_writers_changes_no_answer(self, store_config: AnalyticsStoreConfig) -> None:
        def act(store: ResultStore, racer: int) -> None:
            for number in range(5):
                if racer % 2:
                    key = f"{racer}-{number}"
                    store.commit(make_bundle(store, f"job-{key}", f"run-{key}", {"scores": [{"score": float(number)}]}))
                    assert f"job-{key}" in self.events(store)
                else:
                    store.maintain(at_least=1 + number)

        self._race(store_config, act)
        store = open_result_store(store_config)
        for _ in range(2):
            assert len(self.events(store)) == len(set(self.events(store))) == _RACERS // 2 * 5
            assert self.column(store, "scores", "score") == sorted([0.0, 1.0, 2.0, 3.0, 4.0] * (_RACERS // 2))
            store.maintain()
        store.close()

    def test_maintaining_a_store_that_nothing_was_written_to_creates_nothing(self, store: ResultStore) -> None:
        store.maintain()
        assert self.events(store) == []
        assert store.tables() == ["runs"]

    @staticmethod
    def _race(store_config: AnalyticsStoreConfig, act: Callable[[ResultStore, int], T]) -> list[T]:
        """Let several threads, each with a store object of its own, act at the same moment."""
        start = Barrier(_RACERS)

        def run(racer: int) -> T:
            store = open_result_store(store_config)
            start.wait(DEADLINE)
            try:
                return act(store, racer)
            finally:
                store.close()

        with ThreadPoolExecutor(_RACERS) as threads:
            return list(threads.map(run, range(_RACERS)))

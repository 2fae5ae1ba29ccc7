"""A standard test of a result store: any history, compared with a dictionary that lived through the same."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass

import hypothesis
import pytest
from hypothesis import strategies as st

from checkmaite_core.errors import EventAbandonedError
from checkmaite_core.store import AnalyticsStoreConfig, ResultStore, open_result_store
from checkmaite_core.testing._bundles import make_bundle
from checkmaite_core.testing._reading import rows_of
from checkmaite_core.testing._store_base import StoreTests

__all__ = ["HistoryTests"]

_EVENTS = st.sampled_from(["job-1", "job-2", "job-3", "job-4"])


@dataclass(frozen=True)
class _Commit:
    event: str
    run: str
    rows: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class _Settle:
    event: str


@dataclass(frozen=True)
class _Reopen:
    pass


@dataclass(frozen=True)
class _Maintain:
    at_least: int


_ROWS = st.lists(st.tuples(st.sampled_from(["left", "right"]), st.integers(0, 9)), max_size=3).map(tuple)
_HISTORIES = st.lists(
    st.one_of(
        st.builds(_Commit, _EVENTS, st.sampled_from(["run-1", "run-2"]), _ROWS),
        st.builds(_Settle, _EVENTS),
        st.builds(_Reopen),
        st.builds(_Maintain, st.sampled_from([1, 3])),
    ),
    min_size=2,
    max_size=10,
)


class HistoryTests(StoreTests, standard=True):
    """Commits, repeats, settlements and newly opened stores in any order."""

    @hypothesis.settings(
        max_examples=30,
        deadline=None,
        suppress_health_check=[
            hypothesis.HealthCheck.function_scoped_fixture,
            hypothesis.HealthCheck.too_slow,
            # The test is inherited, so each suite in a session is another executor of the one function.
            hypothesis.HealthCheck.differing_executors,
        ],
    )
    @hypothesis.given(history=_HISTORIES)
    def test_any_history_leaves_what_a_dictionary_would_hold(
        self, store_config: AnalyticsStoreConfig, history: list[_Commit | _Settle | _Reopen | _Maintain]
    ) -> None:
        fresh = store_config.model_copy(update={"uri": f"{store_config.uri}-{uuid.uuid4().hex}"})
        store = open_result_store(fresh)
        known: dict[str, _Commit | None] = {}  # by event, oldest first; None marks an abandoned one
        for step in history:
            match step:
                case _Reopen():
                    store.close()
                    store = open_result_store(fresh)
                case _Maintain(at_least):
                    store.maintain(at_least=at_least)
                case _Settle(event):
                    reference = store.settle(event)
                    before = known.setdefault(event, None)
                    assert (reference and reference.run_uid) == (before and before.run)
                case _Commit():
                    _commit(store, step, known)
        committed = [each for each in known.values() if each is not None]
        assert self.events(store) == sorted(each.event for each in committed)
        newest = {each.run: each for each in committed}
        for table in ("left", "right"):
            expected = [value for each in newest.values() for name, value in each.rows if name == table]
            assert Counter(row["value"] for row in rows_of(store, table)) == Counter(expected)
        store.close()


def _commit(store: ResultStore, step: _Commit, known: dict[str, _Commit | None]) -> None:
    tables: dict[str, list[dict[str, int]]] = {}
    for table, value in step.rows:
        tables.setdefault(table, []).append({"value": value})
    bundle = make_bundle(store, step.event, step.run, tables)
    if step.event in known and known[step.event] is None:
        with pytest.raises(EventAbandonedError):
            store.commit(bundle)
        return
    receipt = store.commit(bundle)
    assert receipt.created is (step.event not in known)
    first = known.setdefault(step.event, step)
    assert first is not None
    assert receipt.reference.run_uid == first.run

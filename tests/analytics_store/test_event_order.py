"""Two commits of one run within one tick of the server's clock, which is a whole second on most object stores."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_analytics_store._order import Stamp, StampSource

SECOND = 1_700_000_000
EVENTS = ["job-c", "job-a", "job-b"]
"""In the order of their commits, which is neither that of their names nor its reverse."""


@pytest.fixture
def commit(store: AnalyticsStore, root: Path, make: ModuleType) -> Callable[[str], None]:
    """Commits an event of the one run in the one second; its row is its own place in ``EVENTS``."""

    def commit_one(event: str) -> None:
        store.commit(make.scores_of(event, "run-1", float(EVENTS.index(event))))
        os.utime(root / "inbox" / f"{event}.run", (SECOND, SECOND))

    return commit_one


@pytest.mark.parametrize("folded", range(len(EVENTS) + 1))
def test_the_last_commit_of_a_process_answers_wherever_the_fold_came(
    open_store: Callable[..., AnalyticsStore], commit: Callable[[str], None], folded: int
) -> None:
    for position, event in enumerate(EVENTS):
        if position == folded:
            open_store().fold()
        commit(event)
    for store in (open_store(), open_store()):
        assert store.query("SELECT event_id, value FROM scores").to_pylist() == [
            {"event_id": EVENTS[-1], "value": float(len(EVENTS) - 1)}
        ]
        assert store.query("SELECT event_id FROM runs WHERE is_current").to_pylist() == [{"event_id": EVENTS[-1]}]
        store.fold()


def test_stamps_grow_and_a_forked_process_is_another_writer() -> None:
    first, second = StampSource.next(), StampSource.next()
    assert first < second
    with multiprocessing.get_context("fork").Pool(1) as pool:
        forked: Stamp = pool.apply(StampSource.next)
    assert forked.writer != first.writer


def test_an_earlier_commit_that_comes_to_light_after_the_fold_of_a_later_one_changes_nothing(
    open_store: Callable[..., AnalyticsStore], commit: Callable[[str], None], root: Path
) -> None:
    commit(EVENTS[0])
    hidden = (root / "inbox" / f"{EVENTS[0]}.run").rename(root.parent / "hidden")
    commit(EVENTS[1])
    open_store().fold()
    hidden.rename(root / "inbox" / f"{EVENTS[0]}.run")
    for store in (open_store(), open_store()):
        assert store.query("SELECT event_id FROM scores").to_pylist() == [{"event_id": EVENTS[1]}]
        store.fold()

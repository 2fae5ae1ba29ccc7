"""What forked processes do on a store: each function is one kind of process."""

from __future__ import annotations

import fcntl
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import duckdb  # noqa: F401  loaded here, once for all processes
from forked import Doom
from store_worker import scores_of

from checkmaite_analytics_store import AnalyticsStore, QuarantinedObjectWarning, StoreSettings
from checkmaite_analytics_store._layout import PROBES
from checkmaite_core.errors import CorruptObjectError, EventAbandonedError

ROWS = 20
"""Of each run in the table ``scores``; all have the same value, which tells which event wrote them."""

Say = Callable[[str], None]


def open_store(root: str | Path, **settings: float) -> AnalyticsStore:
    """A store that removes at once what it may remove, and keeps its batches and files small."""
    small = {"grace": 0, "fold_after": 0, "fold_batch": 40, "merge_rows": 2_000, "vacuum_age": 0}
    return AnalyticsStore(root, settings=StoreSettings(**{**small, **settings}))  # type: ignore[arg-type]


def commit(store: AnalyticsStore, event: str, run: str | None = None, value: float = 0.0) -> bool:
    """Commit a run of :data:`ROWS` rows; whether it was new."""
    return store.commit(scores_of(event, run or event, *[value] * ROWS)).created


def doomed_writer(root: str, say: Say, *, event: str, at: int | None, when: str, first: bool = False) -> None:
    """Commit one run, or two, and die in the last one."""
    store, doom = open_store(root), Doom()
    if not first:
        commit(store, f"{event}-before")
        say(f"{event}-before")
    doom.arm(at, when)
    commit(store, event)
    say(event)
    say(f"calls {doom.calls}")


def doomed_folder(root: str, say: Say, *, at: int | None, when: str) -> None:
    """Fold, and die in it."""
    store, doom = open_store(root), Doom()
    doom.arm(at, when)
    store.fold()
    say(f"calls {doom.calls}")


def endless_writer(root: str, say: Say, *, name: str, runs: int = 10**9, **settings: float) -> None:
    """Commit one event after the other, of so many runs in turn; now and then settle one that nobody commits."""

    def write(store: AnalyticsStore, number: int) -> None:
        if number % 20 == 0:
            assert store.settle(f"{name}-lost-{number}") is None
        event = f"{name}-{number}"
        commit(store, event, f"{name}-run-{number % runs}", number)
        say(event)

    _endless(root, say, write, settings)


def endless_folder(root: str, say: Say, **settings: float) -> None:
    """Fold again and again."""
    _endless(root, say, lambda store, _: store.fold(), settings)


def endless_vacuum(root: str, say: Say, **settings: float) -> None:
    """Vacuum again and again."""
    _endless(root, say, lambda store, _: say(f"removed {store.vacuum()}"), settings)


def endless_reader(root: str, say: Say, **settings: float) -> None:
    """Query again and again, and see a store that only grows, but for what is set aside."""
    witness = Witness()

    def look(store: AnalyticsStore, _: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                witness.look(store)
            except QuarantinedObjectWarning:
                return
        say(f"looked at {len(witness.events)}")

    _endless(root, say, look, settings)


def _endless(root: str, say: Say, deed: Callable[[AnalyticsStore, int], object], settings: dict[str, float]) -> None:
    """Do it until killed, with pauses of ``pause`` seconds. What is damaged is named; then it is tried again."""
    pause = settings.pop("pause", 0)
    store, number = open_store(root, **settings), 0
    while True:
        time.sleep(pause)
        try:
            deed(store, number)
        except CorruptObjectError as error:
            say(f"damaged {error.uri}")
        else:
            number += 1


def doomed_vacuum(root: str, say: Say, *, at: int | None, when: str) -> None:
    """Vacuum, and die in it."""
    store, doom = open_store(root), Doom()
    doom.arm(at, when)
    store.vacuum()
    say(f"calls {doom.calls}")


def attempts(root: str, say: Say, *, start: str, runs: int, times: int) -> None:
    """Commit several events of each of some runs; the value of its rows says which of them it is."""
    store = open_store(root)
    wait_for(start)
    for number in range(times):
        for run in range(runs):
            event = f"attempt-{run}-{number}"
            assert commit(store, event, f"run-{run}", number)
            say(event)


def repeats(root: str, say: Say, *, start: str, seed: int, shared: int, contested: int) -> None:
    """Commit events that others commit too, and such that another settles, in an order of its own."""
    store = open_store(root)
    events = [f"shared-{number}" for number in range(shared)] + [f"contested-{number}" for number in range(contested)]
    wait_for(start)
    for event in random.Random(seed).sample(events, len(events)):
        try:
            commit(store, event)
            say(f"stored {event}")
        except EventAbandonedError:
            say(f"refused {event}")


def settlements(root: str, say: Say, *, start: str, seed: int, contested: int) -> None:
    """Settle each contested event; some when they have long been folded."""
    store = open_store(root)
    wait_for(start)
    for number in random.Random(seed).sample(range(contested), contested):
        for own in range(3):
            commit(store, f"settler-{number}-{own}")
        event = f"contested-{number}"
        say(f"{'refused' if store.settle(event) is None else 'stored'} {event}")


def folds(root: str, say: Say, *, start: str, stop: str) -> None:
    """Fold until told to stop."""
    store = open_store(root)
    wait_for(start)
    while not Path(stop).exists():
        say(f"folded {store.fold().folded}")


def vacuums(root: str, say: Say, *, start: str, stop: str) -> None:
    """Vacuum until told to stop; nothing stays for a query that still reads it.

    Only probes are left alone: each is put twice, and must be there for so long.
    """
    store = open_store(root)
    objects, listed = store._objects, store._objects.list
    objects.list = lambda prefix="": iter(()) if prefix == PROBES else listed(prefix)  # type: ignore[method-assign]
    wait_for(start)
    while not Path(stop).exists():
        say(f"removed {store.vacuum().files}")


def reads(root: str, say: Say, *, start: str, stop: str) -> None:
    """Query until told to stop, and see a store that only grows."""
    witness = Witness()
    kept = open_store(root)
    wait_for(start)
    while not Path(stop).exists():
        witness.look(kept)
        with open_store(root) as fresh:
            witness.look(fresh)
        say(f"looked at {len(witness.events)}")


class Witness:
    """Sees to it that answers are consistent, one by one and each with the one before."""

    def __init__(self) -> None:
        self.events: set[str] = set()
        self.values: dict[str, float] = {}

    def look(self, store: AnalyticsStore) -> None:
        """Ask which events and rows there are."""
        events = [row["event_id"] for row in store.query("SELECT event_id FROM runs").to_pylist()]
        assert len(events) == len(set(events))
        assert self.events <= set(events)
        self.events = set(events)
        if not events:
            return
        answer = store.query(
            "SELECT run_uid, count(*) AS n, count(DISTINCT event_id) AS events, count(DISTINCT value) AS values, "
            "max(value) AS value, "
            "(SELECT count(*) FROM runs WHERE runs.run_uid = scores.run_uid AND is_current) AS current "
            "FROM scores GROUP BY run_uid"
        ).to_pylist()
        for row in answer:
            assert (row["n"], row["events"], row["values"], row["current"]) == (ROWS, 1, 1, 1), row
        values = {row["run_uid"]: row["value"] for row in answer}
        assert all(values.get(run, -1) >= value for run, value in self.values.items())
        self.values = values


def wait_for(start: str) -> None:
    """Return when nobody holds the lock on ``start``, at the same moment as all others that wait."""
    with open(start) as file:
        fcntl.flock(file, fcntl.LOCK_SH)

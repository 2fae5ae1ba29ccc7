"""What forked processes do on a store: each function is one kind of process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb  # noqa: F401  loaded here, once for all processes
from forked import Doom
from store_worker import scores_of

from checkmaite_analytics_store import AnalyticsStore, StoreSettings

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


def endless_writer(root: str, say: Say, *, name: str) -> None:
    """Commit one run after the other."""
    store, number = open_store(root), 0
    while True:
        event = f"{name}-{number}"
        commit(store, event, value=number)
        say(event)
        number += 1


def endless_folder(root: str, say: Say) -> None:
    """Fold again and again."""
    store = open_store(root)
    while True:
        say(f"folded {store.fold().folded}")

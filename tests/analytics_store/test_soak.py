"""Ten minutes of everything at once: writers, folders, a vacuum and readers, killed at any moment, and damage."""

from __future__ import annotations

import os
import random
import re
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deeds import ROWS, commit, open_store
from forked import Forked, Nursery

from checkmaite_analytics_store import AnalyticsStore, QuarantinedObjectWarning
from checkmaite_core.errors import CorruptObjectError

DURATION = 600
"""Seconds."""
SETTINGS = {"fold_batch": 1_000, "merge_rows": 100_000, "vacuum_age": 5}
RUNS = 40
"""Of each writer; each of its events is the newest of one of them for a while."""
PROCESSES = {"endless_writer": 3, "endless_folder": 2, "endless_vacuum": 1, "endless_reader": 2}
PAUSES = {"endless_writer": 0.03, "endless_folder": 0.3, "endless_vacuum": 3.0, "endless_reader": 0.1}
"""Seconds between two deeds of one process: a store that no fold could keep up with would show nothing new."""
DAMAGE = ("event", "manifest", "segment", "file", "foreign")


class Soak:
    """Who works on the store, what they have said, and what has been done to it."""

    def __init__(self, forks: Nursery, root: Path) -> None:
        self.forks, self.root = forks, root
        self.chance = random.Random(0)
        self.alive: list[tuple[str, Forked]] = []
        self.done: Counter[str] = Counter()
        self.acknowledged: dict[str, float] = {}
        self.settled: set[str] = set()
        self.tried: set[str] = set()
        self.spoiled: set[str] = set()
        self.complaints: set[str] = set()

    def start(self, action: str) -> None:
        name = f"w{self.done['started']}"
        options = {"name": name, "runs": RUNS} if action == "endless_writer" else {}
        self.alive.append((name, self.forks.start(action, self.root, **options, pause=PAUSES[action], **SETTINGS)))
        self.done["started"] += 1

    def kill(self, position: int) -> str:
        """Kill a process, and take down what it said; gives its kind."""
        name, process = self.alive.pop(position)
        process.kill()
        written = -1
        for line in process.wait(killed=True):
            kind, _, rest = line.partition(" ")
            if kind == "damaged":
                self.complaints.add(rest)
            elif kind in ("looked", "removed"):
                self.done[kind] += 1
            else:
                written += 1
                assert line == f"{name}-{written}"
                self.acknowledged[line] = written
        self.tried.add(f"{name}-{written + 1}")
        self.done["killed"] += 1
        return process.name.partition("-")[2]

    def newest(self, folder: str, pattern: str) -> Path | None:
        """The latest such object."""
        found = sorted(path for path in (self.root / folder).rglob(pattern))
        return found[-1] if found else None

    def damage(self, store: AnalyticsStore) -> None:
        """Damage one object, let the store cope with it, and put it back."""
        kind = self.chance.choice(DAMAGE)
        if kind == "foreign":
            for key in ("inbox/notes.txt", "tables/scores/mine.parquet", "manifests/old.json", "index/x"):
                (self.root / key).write_bytes(b"not ours")
            store.fold()
            for key in ("inbox/notes.txt", "tables/scores/mine.parquet", "manifests/old.json", "index/x"):
                (self.root / key).unlink(missing_ok=True)
        else:
            path = self.victim(store, kind)
            if path is None or not self.spoil_and_restore(store, path):
                kind = "gone before"
        self.done[kind] += 1

    def victim(self, store: AnalyticsStore, kind: str) -> Path | None:
        if kind == "event":
            event = f"victim-{self.done['event']}-{self.done['killed']}"
            self.tried.add(event)
            commit(store, event)
            self.acknowledged[event] = 0
            return self.root / "inbox" / f"{event}.run"
        if kind == "file":
            files = store.files(self.chance.choice(["scores", "runs"]))
            return Path(self.chance.choice(files)) if files else None
        return self.newest("manifests", "v*.json") if kind == "manifest" else self.newest("index", "*.txt")

    def spoil_and_restore(self, store: AnalyticsStore, path: Path) -> bool:
        try:
            data = path.read_bytes()
            # In place of it, as a disk would: no reader may see the moment in which it is written.
            replace(path, data[: self.chance.choice([0, len(data) // 2])], only_if_there=True)
        except FileNotFoundError:
            return False  # folded, or removed, in time
        self.spoiled.add(str(path.relative_to(self.root)))
        for number in range(3):  # the second and third find it known, or mended
            event = f"beside-{len(self.spoiled)}-{number}"
            self.tried.add(event)
            try:
                commit(store, event)
                self.acknowledged[event] = 0
                store.fold()
            except CorruptObjectError as error:
                # Markers that have left the inbox are only in the index: then a damaged segment of it must come back.
                if path.parent.name != "index" or not error.uri.endswith(path.name):
                    raise
                self.done["not mended"] += 1
        replace(path, data)
        store.fold()
        return True


def replace(path: Path, data: bytes, *, only_if_there: bool = False) -> None:
    new = path.with_name(".new")
    new.write_bytes(data)
    if only_if_there and not path.exists():
        new.unlink()
        raise FileNotFoundError(path)
    os.replace(new, path)


@pytest.fixture
def soak(forks: Nursery, root: Path) -> Iterator[Soak]:
    soak = Soak(forks, root)
    yield soak
    for _, process in soak.alive:
        process.kill()


@pytest.mark.soak
def test_after_all_that_every_acknowledged_event_is_there_once_and_nothing_is_damaged(soak: Soak) -> None:
    end = time.monotonic() + DURATION
    with open_store(soak.root, **SETTINGS) as store, warnings.catch_warnings():
        warnings.simplefilter("ignore", QuarantinedObjectWarning)
        commit(store, "first")
        store.fold()
        soak.acknowledged["first"] = 0
        for action, many in PROCESSES.items():
            for _ in range(many):
                soak.start(action)
        while time.monotonic() < end:
            time.sleep(soak.chance.uniform(0.1, 0.6))
            if soak.chance.random() < 0.6:
                soak.start(soak.kill(soak.chance.randrange(len(soak.alive))))
            else:
                soak.damage(store)
    while soak.alive:
        soak.kill(0)
    print(dict(soak.done), len(soak.acknowledged), "events")

    # Only what had been damaged was ever called damaged.
    assert {re.sub(r".*/store/", "", complaint) for complaint in soak.complaints} <= soak.spoiled
    with open_store(soak.root, **SETTINGS) as store:
        for _ in range(3):
            store.fold()
        report = store.verify()
        assert report.ok, report.findings
        check(store, soak)
        store.vacuum()
        check(store, soak)
        assert store.verify().ok


def check(store: AnalyticsStore, soak: Soak) -> None:
    events = [row["event_id"] for row in store.query("SELECT event_id FROM runs").to_pylist()]
    assert len(events) == len(set(events))
    assert soak.acknowledged.keys() <= set(events) <= soak.acknowledged.keys() | soak.tried
    expected: dict[str, float] = {}
    for event in events:  # of each run the newest; those of one writer have ascending numbers
        name, _, number = event.rpartition("-")
        writer = re.fullmatch(r"w[0-9]+", name)
        run, value = (f"{name}-run-{int(number) % RUNS}", float(number)) if writer else (event, 0.0)
        expected[run] = max(value, expected.get(run, 0.0))
    answer = store.query(
        "SELECT run_uid, min(value) AS least, max(value) AS most, count(*) AS n FROM scores GROUP BY run_uid"
    )
    found: dict[str, Any] = {row["run_uid"]: (row["least"], row["most"], row["n"]) for row in answer.to_pylist()}
    assert found == {run: (value, value, ROWS) for run, value in expected.items()}

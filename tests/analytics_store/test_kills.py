"""kill -9 of real processes, at each call that changes something and at any moment: nothing half visible, or lost."""

from __future__ import annotations

import random
import time
from collections.abc import Collection
from pathlib import Path

import pytest
from deeds import ROWS, commit, open_store
from forked import Nursery


def look(root: Path, *, said: Collection[str], tried: Collection[str]) -> set[str]:
    """The events that a new process sees: all those that were acknowledged, each once and whole, and no others."""
    with open_store(root) as store:
        runs = [row["event_id"] for row in store.query("SELECT event_id FROM runs").to_pylist()]
        if not runs:
            assert not said
            return set()
        rows = store.query("SELECT event_id, count(*) AS n, count(DISTINCT value) AS v FROM scores GROUP BY ALL")
        scores = {row["event_id"]: (row["n"], row["v"]) for row in rows.to_pylist()}
    assert len(runs) == len(set(runs))
    assert set(said) <= set(runs) <= set(tried)
    assert scores == dict.fromkeys(runs, (ROWS, 1))
    return set(runs)


def test_a_writer_killed_at_any_call_leaves_its_run_whole_or_not_at_all(forks: Nursery, root: Path) -> None:
    calls = int(forks.start("doomed_writer", root, event="warm-up", at=None, when="").wait()[-1].split()[1])
    said, tried, deaths = {"warm-up", "warm-up-before"}, {"warm-up", "warm-up-before"}, set()
    for at in range(calls):
        for when in ("before", "middle", "after"):
            event = f"killed-{at}-{when}"
            tried |= {event, f"{event}-before"}
            said |= set(forks.start("doomed_writer", root, event=event, at=at, when=when).wait(killed=True))
            assert event not in said
            visible = event in look(root, said=said, tried=tried)
            deaths.add(visible)
            with open_store(root) as store:
                assert commit(store, event) is not visible  # its client tries again
            said.add(event)
    assert deaths == {False, True}
    with open_store(root) as store:
        assert store.verify().ok
        store.fold()
        assert store.verify().ok
    assert look(root, said=said, tried=tried) == said


@pytest.mark.parametrize("stride", [8, pytest.param(1, marks=pytest.mark.soak)])
def test_a_store_whose_first_writer_was_killed_is_founded_by_the_next(
    forks: Nursery, tmp_path: Path, stride: int
) -> None:
    at = 0
    while True:
        root = tmp_path / f"store-{at}"
        when = ("before", "middle", "after")[at % 3]
        said = forks.start("doomed_writer", root, event="first", at=at, when=when, first=True).wait(killed=True)
        if said:
            break
        visible = look(root, said=[], tried={"first"})
        with open_store(root) as store:
            assert commit(store, "first") is not bool(visible)
            assert commit(store, "second")
            assert store.fold().folded == 2
            assert store.verify().ok
        assert look(root, said=["first", "second"], tried=["first", "second"])
        at += stride
    assert at > 30  # format, probe, columns of a table, the run: each with its folder


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.soak)])
def test_a_folder_and_a_vacuum_killed_at_any_call_lose_and_double_nothing(
    forks: Nursery, root: Path, stride: int
) -> None:
    events: set[str] = set()
    at = 0
    with open_store(root) as store:
        while True:
            for number in range(3):
                events.add(f"{at}-{number}")
                assert commit(store, f"{at}-{number}")
            store.settle(f"abandoned-{at}")
            when = ("before", "middle", "after")[at % 3]
            said = forks.start("doomed_folder", root, at=at, when=when).wait(killed=True)
            forks.start("doomed_vacuum", root, at=at // stride, when=when).wait(killed=True)
            assert look(root, said=events, tried=events) == events
            assert store.verify().ok
            for event in events:
                assert not commit(store, event)
            store.fold()
            if said:
                break
            at += stride
        assert at > 30  # files of three tables, an index segment and a manifest: six calls each
        assert store.verify().ok
        assert store.fold().folded == 0
    assert look(root, said=events, tried=events) == events


@pytest.mark.parametrize("rounds", [6, pytest.param(100, marks=pytest.mark.soak)])
def test_writers_and_folders_killed_at_any_moment_lose_nothing_that_was_acknowledged(
    forks: Nursery, root: Path, rounds: int
) -> None:
    """A run may be there without having been acknowledged: the kill came between the two."""
    moments = random.Random(0)
    said: set[str] = set()
    with open_store(root) as store:
        commit(store, "first")
    said.add("first")
    for number in range(rounds):
        writers = [forks.start("endless_writer", root, name=f"{number}-{each}") for each in range(2)]
        folder = forks.start("endless_folder", root)
        time.sleep(moments.uniform(0.05, 0.4))
        for process in (*writers, folder):
            process.kill()
        for writer in writers:
            said |= set(writer.wait(killed=True))
        folder.wait(killed=True)
        tried = said | {f"{number}-{each}-{len(writer.lines())}" for each, writer in enumerate(writers)}
        said = look(root, said=said, tried=tried)
    with open_store(root) as store:
        assert store.verify().ok
        store.fold()
        assert store.verify().ok
    assert look(root, said=said, tried=said) == said

"""Eight real processes on one store that none of them has founded, all started at the same moment."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from deeds import Witness, open_store
from forked import Nursery


@pytest.mark.parametrize("size", [12, pytest.param(150, marks=pytest.mark.soak)])
def test_writers_repeaters_a_settler_folders_a_vacuum_and_a_reader_all_get_along(
    forks: Nursery, root: Path, tmp_path: Path, size: int
) -> None:
    runs, times, shared, contested = size, 3, 3 * size, 2 * size
    start, stop = tmp_path / "start", tmp_path / "stop"
    with start.open("w") as barrier:
        fcntl.flock(barrier, fcntl.LOCK_EX)
        begin = {"root": root, "start": str(start)}
        go_on = {**begin, "stop": str(stop)}
        writer = forks.start("attempts", **begin, runs=runs, times=times)
        repeaters = [forks.start("repeats", **begin, seed=seed, shared=shared, contested=contested) for seed in (1, 2)]
        settler = forks.start("settlements", **begin, seed=3, contested=contested)
        folders = [forks.start("folds", **go_on) for _ in range(2)]
        vacuum, reader = forks.start("vacuums", **go_on), forks.start("reads", **go_on)
    attempts = writer.wait()
    said = [repeater.wait() for repeater in repeaters]
    verdicts = settler.wait()
    stop.touch()
    folded = sum(int(line.split()[1]) for folder in folders for line in folder.wait())
    assert vacuum.wait()
    assert reader.wait()

    # Whoever asked what became of a contested event was told the same.
    assert len(verdicts) == contested
    outcomes = {f"stored shared-{number}" for number in range(shared)} | set(verdicts)
    assert set(said[0]) == set(said[1]) == outcomes
    stored = {line.split()[1] for line in outcomes if line.startswith("stored")} | set(attempts)
    stored |= {f"settler-{number}-{own}" for number in range(contested) for own in range(3)}
    with open_store(root) as store:
        for _ in range(2):
            witness = Witness()
            witness.look(store)
            assert witness.events == stored
            newest = {f"run-{run}": times - 1 for run in range(runs)}
            assert witness.values == newest | dict.fromkeys(stored - set(attempts), 0)
            assert store.verify().ok
            folded += store.fold().folded
            store.vacuum()
        assert folded == len(stored)
        assert not list((root / "inbox").iterdir())

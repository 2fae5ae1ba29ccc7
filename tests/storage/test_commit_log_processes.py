"""Real processes that race for a log, and one that is killed in the midst of its appends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from checkmaite_storage import CommitLog, LocalObjectStore

WORKER = Path(__file__).with_name("log_worker.py")


def start(root: Path, name: str, epochs: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), str(root), name, str(epochs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def entries(root: Path) -> list[str]:
    batches = CommitLog(LocalObjectStore(root), "log-of/tests/").read().batches
    return [entry.decode() for batch in batches for entry in batch.entries]


def test_of_processes_that_race_for_a_log_each_entry_that_was_acknowledged_is_there_once(root: Path) -> None:
    workers = [start(root, f"p{number}", epochs=3) for number in range(4)]
    said = [worker.communicate()[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4
    found = entries(root)
    assert sorted(found) == sorted(line for lines in said for line in lines)
    for lines in said:
        assert [entry for entry in found if entry in set(lines)] == lines
    epochs = [int(entry.split("-")[1]) for entry in found]
    assert epochs == sorted(epochs)
    claimed = CommitLog(LocalObjectStore(root), "log-of/tests/").epochs()
    assert [epoch.number for epoch in claimed] == list(range(1, len(claimed) + 1))
    assert len(claimed) >= 12


def test_a_writer_killed_in_the_midst_of_its_appends_loses_at_most_what_it_had_not_acknowledged(root: Path) -> None:
    with start(root, "victim", epochs=1000) as victim:
        assert victim.stdout is not None
        said = [victim.stdout.readline().strip() for _ in range(30)]
        victim.kill()
        said += victim.stdout.read().split()
    found = entries(root)
    assert found[: len(said)] == said
    assert len(found) <= len(said) + 1
    latest = CommitLog(LocalObjectStore(root), "log-of/tests/").latest_epoch()
    assert latest is not None
    successor = CommitLog(LocalObjectStore(root), "log-of/tests/").claim({}, after=latest.number)
    successor.append([b"goes on"])
    assert entries(root) == [*found, "goes on"]

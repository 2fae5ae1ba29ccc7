"""What the ledger costs: an append beside a bare fsynced put, a replay beside reading the same bytes."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_steps import Jobs
from measuring import in_turns, milliseconds, show

from checkmaite_ledger import LedgerSettings, LedgerWriter
from checkmaite_storage import LocalObjectStore

pytestmark = pytest.mark.bench

WORKER = Path(__file__).with_name("ledger_process.py")
SUBMISSION = b"s" * 2_000
EVENTS_PER_JOB = 4
NEVER = 10**9


def fill(root: Path, events: int, group: int, snapshot_events: int) -> tuple[Jobs, LedgerWriter]:
    """A ledger of jobs that have completed, written in groups."""
    settings = LedgerSettings(snapshot_events=snapshot_events, snapshot_bytes=10**12)
    jobs, writer = Jobs(), LedgerWriter.claim(LocalObjectStore(root), "bench", {}, after=0, settings=settings)
    count = events // EVENTS_PER_JOB
    for first in range(0, count, group):
        names = [f"job-{number:06}" for number in range(first, min(first + group, count))]
        writer.append([jobs.accept(name) for name in names], dict.fromkeys(names, SUBMISSION))
        writer.append([jobs.start(name) for name in names], {})
        number = writer.append([change for name in names for change in (jobs.begin(name), jobs.complete(name))], {})
        writer.maintain(jobs.listed, number)
    return jobs, writer


def measured(action: str, root: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, WORKER, action, root], check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _cost(figures: dict[str, float]) -> str:
    return f"{figures['cpu']:.0f} ms of a processor, {figures['MiB']:.0f} MiB"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("snapshots", [False, True], ids=["events only", "with snapshots"])
@pytest.mark.parametrize(("events", "group"), [(10_000, 1), (10_000, 100), (100_000, 100)])
def test_a_replay(tmp_path: Path, events: int, group: int, snapshots: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _descriptor: None)  # writing it is not what is measured
        fill(tmp_path, events, group, 2_000 if snapshots else NEVER)
    figures = {action: measured(action, tmp_path) for action in ("floor", "read", "claim")}
    folders = [path for path in (tmp_path / "jobs/bench").rglob("*") if path.is_file()]
    show(
        f"replay of {events:,} events in groups of {group} ({len(folders):,} objects; "
        f"{'with' if snapshots else 'without'} snapshots)",
        ("floor: the same bytes, ms", figures["floor"]["ms"], ""),
        ("a reader lists a page, ms", figures["read"]["ms"], _cost(figures["read"])),
        ("a registry takes over, ms", figures["claim"]["ms"], _cost(figures["claim"])),
    )


@pytest.mark.parametrize("group", [1, 100, 1000])
def test_an_append(tmp_path: Path, group: int) -> None:
    objects = LocalObjectStore(tmp_path)
    jobs, writer = Jobs(), LedgerWriter.claim(objects, "bench", {}, after=0)
    numbers = itertools.count()
    prepared = []
    for _ in range(50):
        names = [f"job-{next(numbers)}" for _ in range(group)]
        prepared.append(([jobs.accept(name) for name in names], dict.fromkeys(names, SUBMISSION)))
    batches = iter(prepared)
    sizes = (len(SUBMISSION) + 600) * group
    floor, append = in_turns(
        50,
        lambda: objects.put_if_absent(f"floor/{next(numbers):016}", b"x" * sizes),
        lambda: writer.append(*next(batches)),
    )
    show(
        f"an append of {group} accepted jobs with {len(SUBMISSION):,} bytes each",
        ("floor: one fsynced put of as many bytes", floor, ""),
        ("append", append, f"{append.median / floor.median:.2f} of the floor"),
    )
    assert append.median < 10 * floor.median


def test_a_snapshot_of_100_000_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _descriptor: None)
        jobs, writer = fill(tmp_path, 400_000, 1000, NEVER)
    number = writer.append([jobs.adopt("job-000000")], {})
    object.__setattr__(writer, "_settings", LedgerSettings(snapshot_events=1))
    took = milliseconds(lambda: writer.maintain(jobs.listed, number))
    (path,) = (tmp_path / "jobs/bench/snapshots").iterdir()
    read = measured("read", tmp_path)
    show(
        "a snapshot of 100,000 jobs",
        ("written, ms", took, f"{path.stat().st_size / 1e5:.0f} bytes a job"),
        ("floor: its bytes, ms", milliseconds(path.read_bytes), ""),
        (
            "a reader lists a page, ms",
            read["ms"],
            f"{read['MiB']:.0f} MiB, {read['MiB'] * 2**20 / 1e5:.0f} bytes a job",
        ),
    )
    assert took < 5_000

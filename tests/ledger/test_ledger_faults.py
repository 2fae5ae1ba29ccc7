"""A ledger's writer may stall, fail or die at any call to the store, and what it acknowledged is there."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from ledger_steps import Jobs
from watched_store import Crash, WatchedStore

from checkmaite_core.errors import SealedError, StorageUnreachableError
from checkmaite_ledger import LedgerSettings, LedgerWriter, latest_epoch
from checkmaite_ledger.directory import Change

SETTINGS = LedgerSettings(snapshot_events=5, snapshot_ratio=0, grace_seconds=0, inline_limit=10)
LARGE = b"more than ten bytes"


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests cut no power."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


class Scope:
    """One ledger, and the jobs as its writers were told that they are durable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs = Jobs()
        self.number = 0

    def open(self) -> WatchedStore:
        return WatchedStore(self.root)

    def claim(self, objects: WatchedStore | None = None) -> LedgerWriter:
        objects = objects or self.open()
        latest = latest_epoch(objects, "here")
        writer = LedgerWriter.claim(objects, "here", {}, after=latest.number if latest else 0, settings=SETTINGS)
        self.jobs = Jobs({record.job_id: record for record in writer.records})
        return writer

    def append(self, writer: LedgerWriter, change: Change, submissions: dict[str, bytes] | None = None) -> None:
        self.number = writer.append([change], submissions or {})

    def live(self, writer: LedgerWriter, name: str) -> None:
        """Two jobs that need the same large submission and one with a small one; one of each ends."""
        for job_id, data in ((f"{name}-1", LARGE), (f"{name}-2", LARGE), (f"{name}-3", b"small")):
            self.append(writer, self.jobs.accept(job_id), {job_id: data})
            self.append(writer, self.jobs.start(job_id))
        for job_id in (f"{name}-1", f"{name}-3"):
            self.append(writer, self.jobs.fail(job_id))
        writer.maintain(self.jobs.listed, self.number)

    def check(self, writer: LedgerWriter) -> None:
        """Each unfinished job can be started: what that needs is there."""
        for record in self.jobs.listed:
            if not record.ended:
                assert writer.submission(record.job_id) == (b"small" if record.job_id.endswith("3") else LARGE)


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    return Scope(tmp_path / "store")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(36))
def test_a_registry_that_dies_at_any_call_loses_no_accepted_job(scope: Scope, at: int, when: str) -> None:
    scope.live(scope.claim(), "old")
    objects = scope.open()
    objects.raises(Crash(), at, when)
    told: dict[str, bool] = {}
    with contextlib.suppress(Crash):
        writer = scope.claim(objects)
        told |= {record.job_id: record.ended for record in scope.jobs.listed}
        append = writer.append

        def appended(changes: list[Change], submissions: dict[str, bytes]) -> int:
            number = append(changes, submissions)
            told.update({change.record.job_id: change.record.ended for change in changes})
            return number

        writer.append = appended  # type: ignore[method-assign,assignment]
        scope.live(writer, "new")
    successor = scope.claim()
    found = {record.job_id: record.ended for record in scope.jobs.listed}
    for job_id, ended in told.items():
        assert found[job_id] >= ended
    scope.check(successor)
    scope.live(successor, "newest")
    scope.check(scope.claim())
    kept = [info.key for info in scope.open().list("jobs/here/payloads/")]
    assert len(kept) == len({key.split("/")[-2] for key in kept})  # one of each incarnation: nothing is left behind


@pytest.mark.parametrize("at", range(22))
def test_a_registry_that_stalls_at_any_call_takes_nothing_from_its_successor(scope: Scope, at: int) -> None:
    objects = scope.open()
    stalled = scope.claim(objects)
    scope.live(stalled, "old")
    successors: list[tuple[LedgerWriter, Jobs]] = []
    ours = Jobs(dict(scope.jobs.records))

    def take_over() -> None:
        writer = scope.claim()
        scope.live(writer, "new")
        successors.append((writer, scope.jobs))
        scope.jobs = ours

    scope.jobs = ours
    objects.once(at, take_over)
    with contextlib.suppress(SealedError):
        scope.append(stalled, ours.accept("late"), {"late": LARGE})
        scope.append(stalled, ours.fail("old-2"))
        scope.append(stalled, ours.fail("late"))
        stalled.maintain(ours.listed, scope.number)
    objects.calm()
    if not successors:
        take_over()
    with pytest.raises(SealedError):
        stalled.append([ours.accept("lost")], {"lost": b""})
    successor, theirs = successors[0]
    scope.jobs = theirs
    scope.check(successor)
    assert scope.claim().records == theirs.listed


@pytest.mark.parametrize("lost", [True, False])
def test_after_an_append_that_failed_the_next_claim_says_what_is_so(scope: Scope, lost: bool) -> None:
    objects = scope.open()
    writer = scope.claim(objects)
    scope.live(writer, "old")
    before = scope.jobs.listed

    def fail() -> None:
        raise StorageUnreachableError("no answer.", hint="none", uri="here")

    objects.once(lambda method, key: method == "put" and "/log/" in key, fail, "after" if lost else "before")
    with pytest.raises(StorageUnreachableError):
        writer.append([scope.jobs.accept("new")], {"new": LARGE + b"!"})
    writer = scope.claim(objects)
    records = writer.records
    assert [record.job_id for record in records] == [record.job_id for record in before] + ["new"] * lost
    scope.jobs = Jobs({record.job_id: record for record in records})
    scope.append(writer, scope.jobs.accept("newer"), {"newer": LARGE})
    writer.maintain(scope.jobs.listed, scope.number)
    assert writer.submission("newer") == LARGE
    assert scope.claim().records == scope.jobs.listed


def test_the_same_append_again_after_a_failure_counts_once(scope: Scope) -> None:
    objects = scope.open()
    writer = scope.claim(objects)
    change = scope.jobs.accept("a")
    for when in ("before", "after"):
        objects.raises(StorageUnreachableError("no answer.", hint="none", uri="here"), 1, when)
        with pytest.raises(StorageUnreachableError):
            writer.append([change], {"a": LARGE})
    writer.append([change], {"a": LARGE})
    assert writer.submission("a") == LARGE
    assert scope.claim().records == [change.record]
    assert len(list(objects.list("jobs/here/payloads/"))) == 1


def test_a_sealed_registry_that_tidies_up_late_leaves_what_its_successor_wrote(scope: Scope) -> None:
    stalled = scope.claim()
    successor = scope.claim()
    scope.append(successor, scope.jobs.accept("a"), {"a": LARGE})
    with contextlib.suppress(SealedError):
        stalled.maintain([], 1)
    scope.check(successor)


def test_a_submission_whose_acceptance_never_came_goes_when_a_successor_tidies_up(scope: Scope) -> None:
    objects = scope.open()
    writer = scope.claim(objects)
    objects.raises(Crash(), 1, "before")
    with pytest.raises(Crash):
        writer.append([scope.jobs.accept("a")], {"a": LARGE})
    assert len(list(objects.list("jobs/here/payloads/"))) == 1
    successor = scope.claim()
    scope.append(successor, scope.jobs.accept("b"), {"b": LARGE})
    assert successor.maintenance_due
    successor.maintain(scope.jobs.listed, scope.number)
    assert [info.key.split("/")[3] for info in objects.list("jobs/here/payloads/")] == ["e2"]
    assert not successor.maintenance_due


def test_a_deletion_that_fails_is_tried_again_and_hits_no_later_submission(scope: Scope) -> None:
    objects = scope.open()
    writer = scope.claim(objects)
    scope.append(writer, scope.jobs.accept("a"), {"a": LARGE})
    scope.append(writer, scope.jobs.fail("a"))

    def fail() -> None:
        raise StorageUnreachableError("no answer.", hint="none", uri="here")

    objects.once(lambda method, _key: method == "delete", fail)
    with pytest.raises(StorageUnreachableError):
        writer.maintain(scope.jobs.listed, scope.number)
    scope.append(writer, scope.jobs.accept("b"), {"b": LARGE})
    writer.maintain(scope.jobs.listed, scope.number)
    assert writer.submission("b") == LARGE
    assert len(list(objects.list("jobs/here/payloads/"))) == 1

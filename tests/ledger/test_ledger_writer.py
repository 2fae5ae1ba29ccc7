from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ledger_steps import Jobs
from watched_store import WatchedStore

from checkmaite_core.errors import ConfigurationError, EpochTakenError, PayloadError, SealedError
from checkmaite_ledger import JobLedger, LedgerSettings, LedgerWriter, latest_epoch, scopes
from checkmaite_storage import LocalObjectStore

WHO = {"cluster": "one", "host": "here"}
LARGE = b"x" * 300_000


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "store")


def claim(objects: LocalObjectStore, after: int = 0, **settings: Any) -> LedgerWriter:
    return LedgerWriter.claim(objects, "here", WHO, after=after, settings=LedgerSettings(**settings))


def payloads(objects: LocalObjectStore) -> list[str]:
    return [info.key for info in objects.list("jobs/here/payloads/")]


def test_a_successor_has_every_job_as_it_was_and_knows_who_came_before(objects: LocalObjectStore) -> None:
    jobs, writer = Jobs(), claim(objects)
    assert (writer.records, writer.deciding) == ([], None)
    writer.append([jobs.accept("a"), jobs.accept("b"), jobs.accept("c", stored=False)], {"a": b"A", "b": LARGE})
    writer.append([jobs.start("a"), jobs.start("b"), jobs.adopt("a")], {})
    writer.append([jobs.begin("a"), jobs.complete("a"), jobs.cancel("b"), jobs.start("b", cause="lost")], {})
    successor = claim(objects, after=1)
    assert successor.records == jobs.listed
    assert successor.deciding is not None
    assert (successor.epoch.number, successor.deciding.who) == (2, WHO)
    assert latest_epoch(objects, "here") == successor.epoch
    with pytest.raises(PayloadError, match="has ended"):
        successor.submission("a")
    successor.forget_records()
    assert successor.records == []


def test_submissions_small_and_large_are_read_back_also_by_a_successor(objects: LocalObjectStore) -> None:
    jobs, writer = Jobs(), claim(objects)
    writer.append([jobs.accept("a"), jobs.accept("b"), jobs.accept("c")], {"a": b"A", "b": LARGE, "c": b"C"})
    successor = claim(objects, after=1)
    for reader in (writer, successor):
        assert [reader.submission(job_id) for job_id in "abc"] == [b"A", LARGE, b"C"]
    assert len(payloads(objects)) == 1


def test_a_submission_that_is_not_there_is_a_clear_error(objects: LocalObjectStore) -> None:
    jobs, writer = Jobs(), claim(objects)
    writer.append([jobs.accept("a"), jobs.accept("b", stored=False)], {"a": b"A"})
    writer.append([jobs.fail("a")], {})
    for job_id in "ab":
        with pytest.raises(PayloadError, match=f"job {job_id}.*ended"):
            writer.submission(job_id)


def test_an_acceptance_without_its_submission_is_refused(objects: LocalObjectStore) -> None:
    jobs, writer = Jobs(), claim(objects)
    accepted = jobs.accept("a")
    for wrong in ({}, {"b": b""}, {"a": b"", "b": b""}):
        with pytest.raises(ValueError, match="stored"):
            writer.append([accepted], wrong)
    assert claim(objects, after=1).records == []


def test_the_sealed_writer_writes_nothing(objects: LocalObjectStore) -> None:
    jobs, writer = Jobs(), claim(objects)
    writer.append([jobs.accept("a")], {"a": b"A"})
    successor = claim(objects, after=1)
    with pytest.raises(SealedError) as caught:
        writer.append([jobs.start("a")], {})
    assert caught.value.epoch == 2
    with pytest.raises(EpochTakenError):
        claim(objects, after=1)
    assert claim(objects, after=2).records == successor.records


def test_a_large_submission_goes_with_the_last_job_that_needs_it(objects: LocalObjectStore) -> None:
    jobs, writer = Jobs(), claim(objects)
    number = writer.append([jobs.accept("a"), jobs.accept("b")], {"a": LARGE, "b": LARGE})
    assert len(payloads(objects)) == 1
    number = writer.append([jobs.fail("a")], {})
    writer.maintain(jobs.listed, number)
    assert writer.submission("b") == LARGE
    number = writer.append([jobs.fail("b"), jobs.accept("c")], {"c": LARGE})
    writer.maintain(jobs.listed, number)
    assert writer.submission("c") == LARGE
    assert len(payloads(objects)) == 1


def test_a_group_of_many_small_submissions_does_not_make_one_huge_object(objects: LocalObjectStore) -> None:
    jobs, writer = Jobs(), claim(objects, batch_limit=1000)
    group = [f"job-{number}" for number in range(20)]
    writer.append([jobs.accept(job_id) for job_id in group], {job_id: job_id.encode() * 20 for job_id in group})
    assert [writer.submission(job_id) for job_id in group] == [job_id.encode() * 20 for job_id in group]
    assert len(payloads(objects)) > 5


def test_the_submissions_of_a_group_are_read_back_with_one_request(tmp_path: Path) -> None:
    objects = WatchedStore(tmp_path)
    jobs, writer = Jobs(), claim(objects)
    group = {f"job-{number}": f"work {number}".encode() for number in range(1_000)}
    writer.append([jobs.accept(job_id) for job_id in group], group)
    successor = claim(objects, after=1)
    objects.calls.clear()
    assert {job_id: successor.submission(job_id) for job_id in group} == group
    assert len(objects.calls) == 1


def test_snapshots_stand_in_for_events_and_keep_unfinished_submissions(objects: LocalObjectStore) -> None:
    jobs, writer = Jobs(), claim(objects, snapshot_events=4, grace_seconds=0, inline_limit=10)
    snapshots: set[str] = set()
    for number in range(30):
        job_id = f"job-{number}"
        done = writer.append([jobs.accept(job_id)], {job_id: b"small" if number % 2 else b"more than ten"})
        if number % 3:
            done = writer.append([jobs.start(job_id), jobs.complete(job_id)], {})
        writer.maintain(jobs.listed, done)
        snapshots |= {info.key for info in objects.list("jobs/here/snapshots/")}
    assert not writer.maintenance_due
    assert len(snapshots) < 25
    log = [info.key for info in objects.list("jobs/here/log/")]
    assert len(log) < 30
    assert len(list(objects.list("jobs/here/snapshots/"))) == 2
    successor = claim(objects, after=1)
    assert successor.records == jobs.listed
    for number in range(0, 30, 3):
        assert successor.submission(f"job-{number}") == (b"small" if number % 2 else b"more than ten")
    assert len(payloads(objects)) == 1


@pytest.mark.parametrize("scope", ["", ".hidden", "a/b", "a..b", "x" * 101, "ä", "a b", None])
def test_a_scope_that_cannot_be_a_folder_is_refused(objects: LocalObjectStore, scope: Any) -> None:
    with pytest.raises(ConfigurationError, match="scope"):
        LedgerWriter.claim(objects, scope, WHO, after=0)
    with pytest.raises(ConfigurationError, match="scope"):
        JobLedger(objects.uri, scope)


def test_scopes_are_listed_and_know_nothing_of_each_other(objects: LocalObjectStore) -> None:
    assert scopes(objects.uri) == []
    jobs, writer = Jobs(), claim(objects)
    writer.append([jobs.accept("a")], {"a": b""})
    other = LedgerWriter.claim(objects, "there", WHO, after=0)
    assert other.records == []
    assert scopes(objects.uri) == ["here", "there"]

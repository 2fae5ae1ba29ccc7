from __future__ import annotations

import os
from pathlib import Path

import pytest

from checkmaite_core.errors import CorruptObjectError, EpochTakenError, SealedError, StorageError, StoreFormatError
from checkmaite_storage import CommitLog, LocalObjectStore, LogWriter


@pytest.fixture
def log(store: LocalObjectStore) -> CommitLog:
    return CommitLog(store, "jobs/here/")


@pytest.fixture
def writer(log: CommitLog) -> LogWriter:
    return log.claim({"host": "one"}, after=0)


def entries(log: CommitLog) -> list[bytes]:
    return [entry for batch in log.read().batches for entry in batch.entries]


def test_an_empty_log_reads_as_empty_and_has_no_epoch(log: CommitLog, root: Path) -> None:
    assert log.latest_epoch() is None
    contents = log.read()
    assert (contents.snapshot, contents.batches, contents.next_number) == (None, (), 1)
    assert not root.exists()


def test_what_is_appended_is_read_in_order(log: CommitLog, writer: LogWriter) -> None:
    assert writer.append([b"one", b"", b"two"]) == 2
    assert writer.append([b"three"]) == 3
    assert entries(log) == [b"one", b"", b"two", b"three"]
    assert log.get(2).entries == (b"one", b"", b"two")
    assert writer.next_number == 4


def test_a_successor_sees_everything_and_says_who_it_is(log: CommitLog, writer: LogWriter) -> None:
    writer.append([b"one"])
    successor = log.claim({"host": "two"}, after=writer.epoch.number)
    assert [batch.entries for batch in successor.contents.batches] == [(), (b"one",), ()]
    latest = log.latest_epoch()
    assert latest is not None
    assert (latest.number, latest.who) == (2, {"host": "two"})
    assert [epoch.who["host"] for epoch in log.epochs()] == ["one", "two"]


def test_a_sealed_writer_learns_it_at_its_next_append_and_stays_sealed(log: CommitLog, writer: LogWriter) -> None:
    successor = log.claim({"host": "two"}, after=1)
    successor.append([b"theirs"])
    for _ in range(2):
        with pytest.raises(SealedError) as caught:
            writer.append([b"lost"])
        assert caught.value.epoch == 2
    with pytest.raises(SealedError):
        writer.write_snapshot(1, b"")
    with pytest.raises(SealedError):
        writer.recover()
    assert entries(log) == [b"theirs"]


def test_an_epoch_is_claimed_once(log: CommitLog, writer: LogWriter) -> None:
    with pytest.raises(EpochTakenError) as caught:
        log.claim({"host": "late"}, after=0)
    assert caught.value.epoch == 1
    writer.append([b"still mine"])


def test_an_epoch_that_nobody_has_seen_cannot_be_followed(log: CommitLog) -> None:
    with pytest.raises(ValueError, match="no epoch 7"):
        log.claim({}, after=7)
    assert log.latest_epoch() is None


def test_a_snapshot_stands_in_for_what_it_covers(log: CommitLog, writer: LogWriter) -> None:
    writer.append([b"one"])
    writer.write_snapshot(2, b"state: one")
    writer.append([b"two"])
    contents = log.read()
    assert (contents.snapshot, contents.snapshot_number) == (b"state: one", 2)
    assert [batch.entries for batch in contents.batches] == [(b"two",)]


def test_a_snapshot_of_what_another_incarnation_wrote_is_refused(log: CommitLog, writer: LogWriter) -> None:
    writer.append([b"one"])
    successor = log.claim({}, after=1)
    for number in (2, 4):
        with pytest.raises(ValueError, match="not written by this incarnation"):
            successor.write_snapshot(number, b"")


def test_reclaiming_keeps_two_snapshots_the_seals_and_what_is_retained(log: CommitLog, writer: LogWriter) -> None:
    for number in range(2, 10):
        assert writer.append([b"%d" % number]) == number
    successor = log.claim({}, after=1)
    for number in range(11, 15):
        assert successor.append([b"%d" % number]) == number
        successor.write_snapshot(number, b"up to %d" % number)
    assert successor.reclaim(retain={3, 11}, grace=60) == 0
    assert successor.reclaim(retain={3, 11}, grace=0) == 10 + 2 - 1
    kept = [number for number in range(1, 15) if _is_there(log, number)]
    assert kept == [1, 3, 10, 11, 14]
    contents = log.read()
    assert (contents.snapshot, contents.seals, contents.next_number) == (b"up to 14", (1, 10), 15)


def test_a_sealed_writer_reclaims_nothing(log: CommitLog, writer: LogWriter) -> None:
    for number in (2, 3):
        writer.append([b"x"])
        writer.write_snapshot(number, b"")
    log.claim({}, after=1)
    with pytest.raises(SealedError):
        writer.reclaim(grace=0)
    assert _is_there(log, 2)


def _is_there(log: CommitLog, number: int) -> bool:
    try:
        log.get(number)
    except StorageError:
        return False
    return True


@pytest.mark.parametrize("at", ["first byte", "checksum", "header", "body", "cut", "empty"])
def test_a_damaged_object_is_named(log: CommitLog, writer: LogWriter, root: Path, at: str) -> None:
    writer.append([b"payload"])
    path = root / "jobs/here/log" / f"{2:016}"
    data = bytearray(path.read_bytes())
    if at in ("cut", "empty"):
        data = data[:-1] if at == "cut" else bytearray()
    else:
        data[{"first byte": 0, "checksum": 20, "header": data.index(b"epoch"), "body": -1}[at]] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptObjectError, match=f"{2:016}") as caught:
        log.read()
    assert caught.value.uri.endswith(f"/jobs/here/log/{2:016}")


def test_a_missing_object_is_named(log: CommitLog, writer: LogWriter, root: Path) -> None:
    writer.append([b"one"])
    writer.append([b"two"])
    (root / "jobs/here/log" / f"{2:016}").unlink()
    with pytest.raises(CorruptObjectError, match=f"{2:016} is missing"):
        log.read()


def test_an_object_copied_to_another_number_is_refused(log: CommitLog, writer: LogWriter, root: Path) -> None:
    writer.append([b"one"])
    folder = root / "jobs/here/log"
    (folder / f"{3:016}").write_bytes((folder / f"{2:016}").read_bytes())
    with pytest.raises(CorruptObjectError, match="batch 2, copied"):
        log.read()


def test_a_damaged_snapshot_is_named_and_may_be_deleted(log: CommitLog, writer: LogWriter, root: Path) -> None:
    for number in (2, 3, 4):
        writer.append([b"%d" % number])
        writer.write_snapshot(number, b"up to %d" % number)
    writer.reclaim(grace=0)
    path = root / "jobs/here/snapshots" / f"{4:016}"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptObjectError, match=r"may be deleted") as caught:
        log.read()
    assert caught.value.uri.endswith(path.name)
    path.unlink()
    contents = log.read()
    assert contents.snapshot == b"up to 3"
    assert [batch.entries for batch in contents.batches] == [(b"4",)]


def test_a_newer_format_says_what_to_update(log: CommitLog, writer: LogWriter, root: Path) -> None:
    path = root / "jobs/here/epochs" / f"{1:016}"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(StoreFormatError, match="Update checkmaite-storage"):
        log.latest_epoch()


def test_the_umask_says_who_may_read_the_log(log: CommitLog, root: Path) -> None:
    before = os.umask(0o027)
    try:
        log.claim({}, after=0).append([b"secret"])
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (root / "jobs").rglob("*") if path.is_file()}
    folders = {path.stat().st_mode & 0o777 for path in (root / "jobs").rglob("*") if path.is_dir()}
    assert (modes, folders) == ({0o640}, {0o750})

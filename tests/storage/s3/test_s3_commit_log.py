"""A commit log on S3, beside and after others."""

from __future__ import annotations

import pytest

from checkmaite_core.errors import CorruptObjectError, EpochTakenError, SealedError
from checkmaite_storage import CommitLog, open_object_store
from checkmaite_storage._remote import RemoteObjectStore
from checkmaite_storage.testing import Fault, FaultProxy


def entries(log: CommitLog) -> list[bytes]:
    return [entry for batch in log.read().batches for entry in batch.entries]


@pytest.fixture
def log(store: RemoteObjectStore) -> CommitLog:
    return CommitLog(store, "jobs/here/")


def test_a_log_on_s3_is_claimed_appended_to_sealed_and_read(log: CommitLog) -> None:
    writer = log.claim({"host": "one"}, after=0)
    for number in range(40):
        assert writer.append([b"%d" % number]) == number + 2
    assert entries(log) == [b"%d" % number for number in range(40)]
    with pytest.raises(EpochTakenError):
        log.claim({}, after=0)
    successor = log.claim({"host": "two"}, after=1)
    with pytest.raises(SealedError):
        writer.append([b"lost"])
    for number in (43, 44, 45):
        successor.append([b"x"])
        successor.write_snapshot(number, b"up to %d" % number)
    assert successor.reclaim(retain={5}, grace=0) == 40 + 2 - 1 + 1
    contents = log.read()
    assert (contents.snapshot, contents.seals, contents.next_number) == (b"up to 45", (1, 42), 46)
    assert log.get(5).entries == (b"3",)


def test_damage_on_s3_is_named(log: CommitLog, store: RemoteObjectStore) -> None:
    log.claim({}, after=0).append([b"one"])
    store.put_if_absent(f"jobs/here/log/{3:016}", b"not ours")
    with pytest.raises(CorruptObjectError) as caught:
        log.read()
    assert caught.value.uri == f"{store.uri}/jobs/here/log/{3:016}"
    store.delete(f"jobs/here/log/{2:016}")
    with pytest.raises(CorruptObjectError, match="missing"):
        log.read()


def test_a_lost_answer_of_s3_is_no_lost_race(bucket: str, options: dict[str, object], proxy: FaultProxy) -> None:
    log = CommitLog(open_object_store(f"s3://{bucket}/pre", {**options, "endpoint_url": proxy.url}))
    proxy.spoil(Fault.LOST)
    writer = log.claim({}, after=0)
    proxy.spoil(Fault.LOST)
    writer.append([b"one"])
    proxy.spoil(503)
    writer.append([b"two"])
    assert entries(log) == [b"one", b"two"]

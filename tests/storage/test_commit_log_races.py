"""Writers, claimers and readers that stand still at any of their calls while others go on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from watched_store import Crash, WatchedStore

from checkmaite_core.errors import (
    EpochTakenError,
    ObjectExistsError,
    SealedError,
    StorageError,
    StorageUnreachableError,
)
from checkmaite_storage import CommitLog, Contents, LogWriter

CALLS = range(10)
"""More than any step below makes; a process that comes to its end before is not parked, and nothing is lost by it."""


class World:
    """One log, and everything that anybody was told is in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.acknowledged: list[str] = []

    def open(self) -> tuple[CommitLog, WatchedStore]:
        """A new process."""
        objects = WatchedStore(self.root)
        return CommitLog(objects, "log-of/tests/"), objects

    def append(self, writer: LogWriter, *texts: str) -> None:
        writer.append([text.encode() for text in texts])
        self.acknowledged += texts

    def work(self, writer: LogWriter, name: str, *, reclaim: bool = True) -> None:
        """Append, snapshot and reclaim, three times."""
        for step in range(3):
            self.append(writer, f"{name}-{step}")
            writer.write_snapshot(
                writer.next_number - 1, state(CommitLog(WatchedStore(self.root), "log-of/tests/").read())
            )
            if reclaim:
                writer.reclaim(grace=0)

    def read(self) -> list[str]:
        return texts(self.open()[0].read())


def state(contents: Contents) -> bytes:
    return json.dumps(texts(contents)).encode()


def texts(contents: Contents) -> list[str]:
    begin = json.loads(contents.snapshot) if contents.snapshot is not None else []
    return [*begin, *(entry.decode() for batch in contents.batches for entry in batch.entries)]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests cut no power."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


@pytest.fixture
def world(root: Path) -> World:
    return World(root)


def appends(world: World, writer: LogWriter) -> None:
    world.append(writer, "stalled")


def snapshots(_world: World, writer: LogWriter) -> None:
    writer.write_snapshot(writer.next_number - 1, state(writer.recover()))


def reclaims(_world: World, writer: LogWriter) -> None:
    writer.reclaim(grace=0)


@pytest.mark.parametrize("at", CALLS[:9])
@pytest.mark.parametrize("step", [appends, snapshots, reclaims])
def test_a_writer_that_stalls_anywhere_while_another_takes_over_loses_and_harms_nothing(
    world: World, step: Callable[[World, LogWriter], None], at: int
) -> None:
    log, objects = world.open()
    writer = log.claim({}, after=0)
    world.work(writer, "before", reclaim=False)
    successors: list[LogWriter] = []

    def take_over() -> None:
        successors.append(world.open()[0].claim({}, after=1))
        world.work(successors[0], "after")

    objects.once(at, take_over)
    with contextlib.suppress(SealedError):
        step(world, writer)
    objects.calm()
    if not successors:
        take_over()
    assert world.read() == world.acknowledged
    with pytest.raises(SealedError):
        world.append(writer, "lost")
    world.append(successors[0], "goes on")
    assert world.read() == world.acknowledged


@pytest.mark.parametrize("at", CALLS)
def test_a_claimer_that_stalls_anywhere_while_the_writer_goes_on_misses_nothing(world: World, at: int) -> None:
    writer = world.open()[0].claim({}, after=0)
    world.work(writer, "before", reclaim=False)
    log, objects = world.open()
    objects.once(at, lambda: _until_sealed(world, writer))
    successor = log.claim({}, after=1)
    assert texts(successor.contents) == world.acknowledged
    with pytest.raises(SealedError):
        world.append(writer, "lost")
    world.work(successor, "after")
    assert world.read() == world.acknowledged


def _until_sealed(world: World, writer: LogWriter) -> None:
    with contextlib.suppress(SealedError):
        world.work(writer, "meanwhile")


@pytest.mark.parametrize("reclaim", [True, False])
@pytest.mark.parametrize("at", CALLS)
def test_a_claimer_that_stalls_anywhere_while_a_later_one_takes_over_stops(
    world: World, at: int, reclaim: bool
) -> None:
    world.work(world.open()[0].claim({}, after=0), "before", reclaim=False)
    log, objects = world.open()
    later: list[LogWriter] = []

    def take_over() -> None:
        latest = world.open()[0].latest_epoch()
        assert latest is not None
        later.append(world.open()[0].claim({}, after=latest.number))
        world.work(later[0], "later", reclaim=reclaim)

    objects.once(at, take_over)
    claimed: LogWriter | None = None
    with contextlib.suppress(SealedError, EpochTakenError):
        claimed = log.claim({}, after=1)
    objects.calm()
    if not later:
        take_over()
    if claimed is not None:
        with pytest.raises(SealedError):
            world.append(claimed, "lost")
    assert world.read() == world.acknowledged
    world.append(later[0], "goes on")
    assert world.read() == world.acknowledged


def test_a_claimer_whose_number_is_taken_and_reclaimed_before_it_looks_begins_again(world: World) -> None:
    writer = world.open()[0].claim({}, after=0)
    log, objects = world.open()
    key = f"log-of/tests/log/{2:016}"

    def taken() -> None:
        world.append(writer, "taken")
        objects.once(lambda method, wanted: (method, wanted) == ("get", key), lambda: world.work(writer, "meanwhile"))

    objects.once(lambda method, wanted: (method, wanted) == ("put", key), taken)
    successor = log.claim({}, after=1)
    assert ("get", key) in objects.calls
    assert texts(successor.contents) == world.acknowledged


@pytest.mark.parametrize("at", CALLS)
def test_a_reader_that_stalls_anywhere_reads_what_was_there_then_or_later(world: World, at: int) -> None:
    writer = world.open()[0].claim({}, after=0)
    world.work(writer, "before", reclaim=False)
    before = list(world.acknowledged)
    log, objects = world.open()
    objects.once(at, lambda: world.work(writer, "meanwhile"))
    read = texts(log.read())
    assert read == world.acknowledged[: len(read)]
    assert len(read) >= len(before)


def test_a_reader_does_not_take_a_late_seal_for_the_object_whose_number_it_got(world: World) -> None:
    writer = world.open()[0].claim({}, after=0)
    claimer, theirs = world.open()
    key = f"log-of/tests/log/{2:016}"
    theirs.once(lambda method, wanted: (method, wanted) == ("put", key), _crash)
    with pytest.raises(Crash):
        claimer.claim({}, after=1)
    world.append(writer, "replaced")
    log, objects = world.open()

    def meanwhile() -> None:
        world.work(writer, "meanwhile")
        WatchedStore(world.root).put_if_absent(*theirs.latest_put)  # the request arrives after its process has died

    objects.once(lambda method, wanted: (method, wanted) == ("get", key), meanwhile)
    assert texts(log.read()) == world.acknowledged
    world.append(writer, "goes on")
    assert world.read() == world.acknowledged


def _crash() -> None:
    raise Crash


@pytest.mark.parametrize("folder", ["epochs", "log", "snapshots"])
def test_a_put_that_is_repeated_after_a_lost_answer_knows_its_own_object(world: World, folder: str) -> None:
    log, objects = world.open()

    def exists() -> None:
        raise ObjectExistsError("it exists.", hint="none", uri="here")

    def repeated() -> None:
        objects.once(lambda method, key: method == "put" and f"/{folder}/" in key, exists, "after")

    repeated()
    writer = log.claim({}, after=0)
    repeated()
    world.append(writer, "one")
    repeated()
    writer.write_snapshot(2, b'["one"]')
    assert world.read() == ["one"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(40))
def test_a_process_that_dies_at_any_call_leaves_a_log_that_goes_on(world: World, at: int, when: str) -> None:
    log, objects = world.open()
    objects.raises(Crash(), at, when)
    try:
        writer = log.claim({}, after=0)
        world.work(writer, "first")
        world.append(writer, "last")
    except Crash:
        pass
    assert world.read()[: len(world.acknowledged)] == world.acknowledged
    latest = world.open()[0].latest_epoch()
    successor = world.open()[0].claim({}, after=latest.number if latest else 0)
    world.acknowledged = texts(successor.contents)
    world.work(successor, "second")
    assert world.read() == world.acknowledged


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(40))
def test_a_call_that_fails_or_whose_answer_is_lost_is_tried_again_and_counts_once(
    world: World, at: int, when: str
) -> None:
    log, objects = world.open()
    objects.raises(StorageUnreachableError("no answer.", hint="none", uri="here"), at, when)

    def again(action: Callable[[], object]) -> object:
        try:
            return action()
        except StorageUnreachableError:
            return action()

    def claim() -> LogWriter:
        latest = log.latest_epoch()
        return log.claim({}, after=latest.number if latest else 0)

    writer = again(claim)
    assert isinstance(writer, LogWriter)
    for number in range(4):
        again(lambda text=f"{number}": writer.append([text.encode()]))  # type: ignore[misc]
        world.acknowledged.append(f"{number}")
        again(lambda: writer.write_snapshot(writer.next_number - 1, state(world.open()[0].read())))
        again(lambda: writer.reclaim(grace=0))
    assert world.read() == world.acknowledged


@pytest.mark.parametrize("arrives", ["never", "before the error", "before recovery", "after recovery"])
def test_an_append_in_doubt_is_settled_for_good(world: World, arrives: str) -> None:
    log, objects = world.open()
    writer = log.claim({}, after=0)
    sent: list[tuple[str, bytes]] = []
    put = objects.put_if_absent

    def fails(key: str, data: bytes) -> None:
        sent.append((key, data))
        if arrives == "before the error":
            put(key, data)
        raise StorageUnreachableError("no answer.", hint="none", uri=key)

    def arrive() -> None:
        try:
            put(*sent[0])
        except StorageError:
            assert arrives == "after recovery"

    objects.put_if_absent = fails  # type: ignore[method-assign]
    with pytest.raises(StorageUnreachableError):
        writer.append([b"doubtful"])
    objects.put_if_absent = put  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="may or may not") as caught:
        writer.append([b"other"])
    assert caught.value.uri.endswith(sent[0][0])
    if arrives == "before recovery":
        arrive()
    recovered = texts(writer.recover())
    if arrives == "after recovery":
        arrive()
    assert recovered == (["doubtful"] if arrives.startswith("before") else [])
    writer.append([b"other"])
    assert world.read() == [*recovered, "other"]


def test_a_batch_whose_number_recovery_took_is_appended_at_the_next(world: World) -> None:
    log, objects = world.open()
    writer = log.claim({}, after=0)
    objects.raises(StorageUnreachableError("no answer.", hint="none", uri="here"), 0, "before")
    with pytest.raises(StorageUnreachableError):
        writer.append([b"one"])
    objects.raises(StorageUnreachableError("no answer.", hint="none", uri="here"), 0, "after")
    with pytest.raises(StorageUnreachableError):
        writer.recover()
    writer.append([b"one"])
    assert world.read() == ["one"]

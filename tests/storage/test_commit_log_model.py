"""A commit log against a list: writers of any epoch, readers, snapshots, reclaiming, failures and late requests."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from unittest import mock

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from watched_store import WatchedStore

from checkmaite_core.errors import (
    EpochTakenError,
    ObjectExistsError,
    SealedError,
    StorageError,
    StorageUnreachableError,
)
from checkmaite_storage import CommitLog, Contents, LogWriter


def texts(contents: Contents) -> list[str]:
    begin = json.loads(contents.snapshot) if contents.snapshot is not None else []
    return [*begin, *(entry.decode() for batch in contents.batches for entry in batch.entries)]


class LogMachine(RuleBasedStateMachine):
    """The model: the entries in order, the latest epoch, and the writer that is not sealed."""

    writers = Bundle("writers")

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._sync = mock.patch("os.fsync")  # no power is cut here
        self._sync.start()
        self.entries: list[str] = []
        self.epoch = 0
        self.made = 0
        self.doubt: tuple[int, str] | None = None
        self.late: list[tuple[str, bytes]] = []

    def teardown(self) -> None:
        self._sync.stop()
        self._folder.cleanup()

    def _log(self) -> tuple[CommitLog, WatchedStore]:
        objects = WatchedStore(Path(self._folder.name))
        return CommitLog(objects), objects

    def _is_sealed(self, writer: LogWriter) -> bool:
        return writer.epoch.number < self.epoch

    def _settle(self) -> None:
        """Whether the doubtful append is there shows in the log, and must stay so from then on."""
        if self.doubt is not None and texts(self._log()[0].read()) == [*self.entries, self.doubt[1]]:
            self.entries.append(self.doubt[1])
            self.doubt = None

    @rule(target=writers, seen=st.integers(0, 1))
    def claim(self, seen: int) -> object:
        log, objects = self._log()
        if seen and self.epoch:
            with pytest.raises(EpochTakenError):
                log.claim({}, after=self.epoch - seen)
            return hypothesis.stateful.multiple()
        writer = log.claim({}, after=self.epoch)
        self.epoch += 1
        self._settle()
        self.doubt = None  # it lost its number to the seal, or is there
        assert texts(writer.contents) == self.entries
        writer.objects = objects  # type: ignore[attr-defined]
        return writer

    @rule(writer=writers, count=st.integers(1, 3))
    def append(self, writer: LogWriter, count: int) -> None:
        wanted = [f"{self.made + number}" for number in range(count)]
        self.made += count
        if self._is_sealed(writer):
            with pytest.raises((SealedError, StorageError)):
                writer.append([text.encode() for text in wanted])
        elif self.doubt is not None:
            with pytest.raises(StorageError, match="may or may not"):
                writer.append([text.encode() for text in wanted])
        else:
            writer.append([text.encode() for text in wanted])
            self.entries += wanted

    @rule(writer=writers, arrives=st.sampled_from(["now", "never", "later"]))
    def append_fails(self, writer: LogWriter, arrives: str) -> None:
        if self._is_sealed(writer) or self.doubt is not None:
            return
        objects: WatchedStore = writer.objects  # type: ignore[attr-defined]
        objects.raises(StorageUnreachableError("-", hint="-", uri="-"), 0, "after" if arrives == "now" else "before")
        text = f"{self.made}"
        self.made += 1
        with pytest.raises(StorageUnreachableError):
            writer.append([text.encode()])
        self.doubt = (writer.epoch.number, text)
        if arrives == "later":
            self.late.append(objects.latest_put)

    @rule()
    def late_requests_arrive(self) -> None:
        for key, data in self.late:
            try:
                self._log()[1].put_if_absent(key, data)
            except ObjectExistsError:
                continue
        self.late.clear()

    @rule(writer=writers)
    def append_again(self, writer: LogWriter) -> None:
        if self.doubt is None or self.doubt[0] != writer.epoch.number or self._is_sealed(writer):
            return
        writer.append([self.doubt[1].encode()])
        self.entries.append(self.doubt[1])
        self.doubt = None

    @rule(writer=writers)
    def recover(self, writer: LogWriter) -> None:
        if self._is_sealed(writer):
            with pytest.raises(SealedError):
                writer.recover()
            return
        found = texts(writer.recover())
        self._settle()
        self.doubt = None
        assert found == self.entries

    @rule(writer=writers)
    def snapshot(self, writer: LogWriter) -> None:
        if self._is_sealed(writer) or self.doubt is not None:
            return
        writer.write_snapshot(writer.next_number - 1, json.dumps(self.entries).encode())

    @rule(writer=writers)
    def reclaim(self, writer: LogWriter) -> None:
        try:
            writer.reclaim(grace=0)
        except SealedError:
            assert self._is_sealed(writer)

    @invariant()
    def the_log_is_the_list(self) -> None:
        found = texts(self._log()[0].read())
        assert found in (self.entries, [*self.entries, self.doubt[1]] if self.doubt else self.entries)


LogMachine.TestCase.settings = hypothesis.settings(max_examples=60, stateful_step_count=30)
TestLogIsAList = LogMachine.TestCase

"""Real processes: races, kills, a full disk and missing rights."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from checkmaite_core.errors import AccessDeniedError, ConditionalPutError, ObjectExistsError, StorageFullError
from checkmaite_storage import LocalObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RACER = """
import os, sys
if sys.argv[3] == "named temporary":
    del os.O_TMPFILE
from checkmaite_core.errors import ObjectExistsError
from checkmaite_storage import LocalObjectStore
store = LocalObjectStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
won = []
for number in range(100):
    try:
        store.put_if_absent(f"race/{number}", sys.argv[2].encode() * 1000)
        won.append(number)
    except ObjectExistsError:
        pass
print(*won, flush=True)
"""


def test_of_racing_processes_exactly_one_wins_each_key(root: Path, way: str) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(root), str(number), way],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    won = [{int(number) for number in racer.communicate(timeout=60)[0].split()} for racer in racers]
    assert sum(map(len, won)) == 100
    assert set().union(*won) == set(range(100))
    store = LocalObjectStore(root)
    for number in range(100):
        winner = next(str(racer) for racer in range(4) if number in won[racer])
        assert store.get(f"race/{number}") == winner.encode() * 1000


def test_of_racing_threads_exactly_one_wins(store: LocalObjectStore, way: str) -> None:
    def put(number: int) -> bool:
        try:
            store.put_if_absent("a/b", str(number).encode())
        except ObjectExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(put, range(32)))
    assert store.get("a/b") == str(outcomes.index(True)).encode()
    assert sum(outcomes) == 1


WRITER = """
import os, sys
if sys.argv[2] == "named temporary":
    del os.O_TMPFILE
from checkmaite_storage import LocalObjectStore
store = LocalObjectStore(sys.argv[1])
size = 300_000
number = 0
while True:
    store.put_if_absent(f"kill/{sys.argv[3]}-{number}", str(number % 10).encode() * size)
    print(number, flush=True)
    number += 1
"""


def test_a_writer_killed_at_any_moment_leaves_whole_objects_only(root: Path, way: str) -> None:
    acknowledged: set[str] = set()
    for round_number in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(root), way, str(round_number)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(1 + round_number):
            acknowledged.add(f"kill/{round_number}-{int(writer.stdout.readline())}")
        writer.send_signal(signal.SIGKILL)
        rest = writer.communicate()[0]
        acknowledged |= {f"kill/{round_number}-{int(line)}" for line in rest.splitlines() if line.isdigit()}
    store = LocalObjectStore(root)
    found = {info.key for info in store.list()}
    assert found >= acknowledged
    for key in found:
        number = int(key.rpartition("-")[2])
        assert store.get(key) == str(number % 10).encode() * 300_000
        assert not os.path.basename(key).startswith(".tmp-")


def in_a_child(work: Callable[[], None]) -> None:
    """Run ``work`` in a forked process, which may give up rights for good; its failure is ours."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:  # a forked child must not run on into the parent's tests
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_without_space_nothing_is_written_and_the_error_says_so(store: LocalObjectStore, way: str) -> None:
    """The limit of a process's file size makes the kernel refuse a write half-way, as a full disk does."""
    store.put_if_absent("before", b"1")

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(StorageFullError, match="nothing was written"):
            store.put_if_absent("a/large", b"x" * 200_000)
        store.put_if_absent("a/small", b"x")

    in_a_child(work)
    assert [info.key for info in store.list()] == ["a/small", "before"]
    assert os.listdir(store.path("a")) == ["small"]


def test_missing_rights_are_not_taken_for_absence(store: LocalObjectStore, root: Path, tmp_path: Path) -> None:
    store.put_if_absent("a/b", b"1")
    for path in (tmp_path, *tmp_path.parents[:3], root.parent, root):
        path.chmod(path.stat().st_mode | 0o055)
    (root / "a").chmod(0o500 if os.geteuid() else 0o700)
    if not os.geteuid():
        (root / "a" / "b").chmod(0o600)

    def as_root() -> None:
        # Root may do everything, so become somebody who is not the owner.
        os.setgid(65534)
        os.setuid(65534)
        with pytest.raises(AccessDeniedError, match=r"could not be read(.|\n)*let you read"):
            store.get("a/b")
        with pytest.raises(AccessDeniedError, match=r"could not be listed(.|\n)*let you read"):
            list(store.list("a/"))
        with pytest.raises(AccessDeniedError, match=r"could not be written(.|\n)*writing and deleting need w"):
            store.put_if_absent("a/c", b"")
        with pytest.raises(AccessDeniedError):
            store.put_if_absent("new", b"")

    def as_owner() -> None:
        with pytest.raises(AccessDeniedError):
            store.put_if_absent("a/c", b"")
        (root / "a" / "b").chmod(0)
        with pytest.raises(AccessDeniedError):
            store.get("a/b")

    in_a_child(as_owner if os.geteuid() else as_root)
    (root / "a").chmod(0o700)


def test_a_file_system_without_hard_links_is_refused(
    store: LocalObjectStore, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands in for exFAT, which cannot be mounted without rights: its link() answers EPERM."""

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("os.link", no_links)
    with pytest.raises(ConditionalPutError, match="no hard links"):
        store.put_if_absent("a", b"1")
    assert [name for name in os.listdir(store.path("a").removesuffix("/a")) if name == "a"] == []


def test_a_link_whose_answer_got_lost_counts_as_made(store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for NFS, where a repeated link request meets the link that its first copy made."""
    monkeypatch.delattr("os.O_TMPFILE")
    link = os.link

    def twice(*args: object, **kwargs: object) -> None:
        link(*args, **kwargs)  # type: ignore[arg-type]
        link(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("os.link", twice)
    store.put_if_absent("a", b"1")
    assert store.get("a") == b"1"
    with pytest.raises(ObjectExistsError):
        store.put_if_absent("a", b"2")


def test_everything_is_synced_before_a_put_returns(
    store: LocalObjectStore, root: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut cannot be had in a test; that the kernel was asked for durability in the right order can."""
    calls: list[str] = []
    fsync, link = os.fsync, os.link

    def spy_fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        calls.append("data" if "#" in path or ".tmp-" in path else f"folder {os.path.relpath(path, root)}")
        fsync(descriptor)

    def spy_link(*args: object, **kwargs: object) -> None:
        calls.append("link")
        link(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("os.fsync", spy_fsync)
    monkeypatch.setattr("os.link", spy_link)
    store.put_if_absent("a/b", b"1")
    assert calls[-3:] == ["data", "link", "folder a"]
    assert {"folder ..", "folder ."} <= set(calls[:-3])
    calls.clear()
    store.put_if_absent("a/c", b"1")
    assert calls == ["data", "link", "folder a"]
    calls.clear()
    with pytest.raises(ObjectExistsError):
        store.put_if_absent("a/c", b"1")
    assert calls == ["data", "link", "folder a"]

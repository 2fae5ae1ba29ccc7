"""Real processes at little cost: each is forked from one that has loaded everything, and can die at any moment.

A process writes what it did to a file, a line each, before it goes on; so a line that is there was said, also by a
process that has been killed since.

As a script: ``forked.py FOLDER`` starts processes that write to files in FOLDER, as it is told on its input.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CHANGING = ("write", "fsync", "link", "unlink", "mkdir")
"""What a local store calls to change something; beside these, an open that creates."""


class Doom:
    """Makes this process kill itself around its n-th changing call: before, after, or in the middle of a write."""

    def __init__(self) -> None:
        self.calls = 0
        self._at: int | None = None
        self._when = "before"

    def arm(self, at: int | None, when: str = "before") -> None:
        """Count from here; ``at=None`` only counts."""
        self.calls, self._at, self._when = 0, at, when
        for name in (*_CHANGING, "open"):
            setattr(os, name, self._around(name, getattr(os, name)))

    def _around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def dangerous(*args: Any, **options: Any) -> Any:
            if name == "open" and not args[1] & (os.O_CREAT | os.O_WRONLY):
                return call(*args, **options)
            now = self.calls == self._at
            self.calls += 1
            if now and self._when == "middle" and name == "write":
                call(args[0], args[1][: len(args[1]) // 2])
            if now and self._when != "after":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return call(*args, **options)
            finally:  # also where it failed, as the put of what is there does
                if now:
                    os.kill(os.getpid(), signal.SIGKILL)

        return dangerous


@dataclass(frozen=True)
class Forked:
    """One of the processes. It is not waited for, and its number not given away, before :meth:`wait`."""

    name: str
    pid: int
    said: Path
    _nursery: Nursery

    def lines(self) -> list[str]:
        """What it has said so far."""
        return self.said.read_text().split("\n")[:-1]

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, *, killed: bool = False) -> list[str]:
        """Wait for its end, which must be a good one, or that of a killed one; gives what it said."""
        code = int(self._nursery.ask({"wait": self.pid}))
        allowed = (0, -signal.SIGKILL) if killed else (0,)
        assert code in allowed, f"{self.name} ended with {code}: " + self.said.read_text()[-4000:]
        return self.lines()


class Nursery:
    """Starts processes that act on stores."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._process = subprocess.Popen(
            # Threads that Arrow's allocator has are no reason not to fork: it takes care of that itself.
            [sys.executable, "-W", "ignore::DeprecationWarning", __file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._begun = 0

    def ask(self, command: dict[str, Any]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline().strip()
        assert answer, "no further processes can be started"
        return answer

    def start(self, action: str, root: Path, kill_after: float | None = None, **options: Any) -> Forked:
        """Start a process.

        Args:
            action: The name of a function of ``deeds.py``.
            root: The store.
            kill_after: Kill it after so many seconds.
            options: Passed on to the function.
        """
        self._begun += 1
        name = f"{self._begun:04d}-{action}"
        options["root"] = str(root)
        pid = int(self.ask({"action": action, "name": name, "kill_after": kill_after, "options": options}))
        return Forked(name, pid, self._folder / name, self)

    def close(self) -> None:
        """End all of them."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextlib.contextmanager
def nursery(folder: Path) -> Iterator[Nursery]:
    """A :class:`Nursery`; at the end nothing of it is left."""
    opened = Nursery(folder)
    try:
        yield opened
    finally:
        opened.close()


def _child(file: int, action: str, options: dict[str, Any]) -> int:
    import deeds

    write = os.write  # also where a doom lies on it

    def say(line: str) -> None:
        write(file, f"{line}\n".encode())

    try:
        getattr(deeds, action)(say=say, **options)
    except BaseException:  # whatever it was, the parent is told by the exit status
        say(traceback.format_exc())
        return 1
    return 0


def _serve(folder: Path) -> None:
    children: set[int] = set()
    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            pid = command["wait"]
            answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            children.discard(pid)
        else:
            file = os.open(folder / command["name"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            answer = os.fork()
            if answer == 0:
                os._exit(_child(file, command["action"], command["options"]))
            os.close(file)
            children.add(answer)
            if command["kill_after"] is not None:
                time.sleep(command["kill_after"])
                os.kill(answer, signal.SIGKILL)
        print(answer, flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    import deeds  # noqa: F401  what the processes need is loaded once

    _serve(Path(sys.argv[1]))

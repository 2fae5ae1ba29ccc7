"""The installed command as a user has it: in a shell of its own, on a terminal or behind a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CHECKMAITE = Path(sys.executable).with_name("checkmaite")
OURS = ("UV", "VIRTUAL_ENV", "PYTHON", "RAY_", "CHECKMAITE_", "NOX", "PYTEST", "COLUMNS", "NO_COLOR", "FORCE_COLOR")
"""Beginnings of variables that a fresh shell does not have."""
PATIENCE = 90.0
"""Seconds after which something that was to appear on the screen counts as missing."""
_TERMINAL_CODES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\r")


class Running:
    """A started ``checkmaite`` whose output is read as it comes.

    Args:
        arguments: What follows ``checkmaite``.
        folder: The current folder.
        environment: Its variables.
        terminal: Whether it is on a terminal of 80 columns, or behind pipes.

    Attributes:
        raw: The bytes written so far.
        process: The started process.
    """

    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str], *, terminal: bool) -> None:
        self._terminal = terminal
        self.raw = b""
        if terminal:
            self._read, inside = pty.openpty()
            fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
        else:
            self._read, inside = os.pipe()
        self.process = subprocess.Popen(
            [CHECKMAITE, *arguments],
            cwd=folder,
            env=environment,
            stdin=inside if terminal else subprocess.DEVNULL,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if terminal else None,
        )
        os.close(inside)

    @property
    def screen(self) -> str:
        """Everything written so far, without terminal codes."""
        return _TERMINAL_CODES.sub("", self.raw.decode(errors="replace"))

    def wait_for(self, pattern: str) -> None:
        """Read until the pattern is on the screen."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.screen):
            if not self._more(deadline):
                raise AssertionError(f"{pattern!r} did not come; the screen holds:\n{self.screen}")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Read on until the condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come; the screen holds:\n{self.screen}")
            ready, _, _ = select.select([self._read], [], [], 0.05)
            if ready:
                self._more(deadline)

    def children(self) -> dict[int, str]:
        """Process ids and names of the processes that it has started."""
        listing = subprocess.run(
            ["ps", "--ppid", str(self.process.pid), "-o", "pid=,comm="], capture_output=True, text=True, check=False
        ).stdout
        return {int(pid): name for pid, name in (line.split(maxsplit=1) for line in listing.splitlines())}

    def offspring(self, title: str) -> list[int]:
        """Process ids of its children, their children and so on, of those whose command line begins so."""
        listing = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
        rows = [line.split(maxsplit=2) for line in listing.splitlines()]
        parents = {int(pid): int(parent) for pid, parent, _ in rows}

        def is_ours(pid: int) -> bool:
            while pid in parents and pid != self.process.pid:
                pid = parents[pid]
            return pid == self.process.pid

        return [int(pid) for pid, _, arguments in rows if arguments.startswith(title) and is_ours(int(pid))]

    def press_ctrl_c(self) -> None:
        """Ctrl-C as the kernel does it on a terminal, for the whole group; a plain signal where there is none."""
        if self._terminal:
            os.write(self._read, b"\x03")
        else:
            self.process.send_signal(signal.SIGINT)

    def finish(self) -> int:
        """Read to the end.

        Returns:
            The exit status.
        """
        deadline = time.monotonic() + PATIENCE
        while self._more(deadline):
            pass
        return self.process.wait(timeout=10)

    def close(self) -> None:
        os.close(self._read)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _more(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"nothing more came for {PATIENCE} s; the screen holds:\n{self.screen}")
        try:
            data = os.read(self._read, 65536)
        except OSError:  # what a terminal says once nobody has its other end open
            data = b""
        self.raw += data
        return bool(data)


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a fresh shell with an empty home, and this environment's programs on its PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    path = f"{CHECKMAITE.parent}{os.pathsep}{os.environ['PATH']}"
    home = str(tmp_path_factory.mktemp("home"))
    return {**kept, "PATH": path, "HOME": home, "LANG": "C.UTF-8", "TERM": "xterm-256color"}


@pytest.fixture
def start(shell: dict[str, str]) -> Iterator[Callable[..., Running]]:
    """Start ``checkmaite`` with these arguments in a folder."""
    started: list[Running] = []

    def start(*arguments: str, folder: Path, terminal: bool = True) -> Running:
        running = Running(list(arguments), folder, shell, terminal=terminal)
        started.append(running)
        return running

    yield start
    for running in started:
        running.close()


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def run(shell: dict[str, str]) -> Run:
    """Run ``checkmaite`` with these arguments in a folder, behind pipes, to its end."""

    def run(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [CHECKMAITE, *arguments],
            cwd=folder,
            env={**shell, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    return run

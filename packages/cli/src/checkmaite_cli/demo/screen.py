"""What the demo shows while it works: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from checkmaite_cli.console import plain
from checkmaite_core import Job, JobStatus

__all__ = ["Census", "JobDisplay", "census", "step", "took"]

_LINES = 8
"""Into how many lines the progress is divided where there is no terminal."""
_QUIET_SECONDS = 10.0
"""After which a line is written in any case."""


@dataclass(frozen=True, slots=True)
class Census:
    """How many jobs are where.

    Attributes:
        completed: Their results are in the store.
        stopped: They failed or were cancelled.
        running: Names of those that a worker has begun.
        pending: No worker has begun them.
    """

    completed: int
    stopped: int
    running: tuple[str, ...]
    pending: int

    @property
    def finished(self) -> int:
        """Those that have ended, one way or the other."""
        return self.completed + self.stopped

    def __str__(self) -> str:
        return f"{self.finished} finished, {len(self.running)} running, {self.pending} pending"


def census(jobs: Sequence[Job]) -> Census:
    """Count the jobs by status, once."""
    status = [job.status for job in jobs]
    completed = status.count(JobStatus.COMPLETED)
    running = tuple(job.name for job, now in zip(jobs, status, strict=True) if now is JobStatus.RUNNING)
    pending = status.count(JobStatus.PENDING)
    return Census(completed, len(jobs) - completed - len(running) - pending, running, pending)


def took(console: Console, what: str, since: float) -> None:
    """Say how long something took that began at this ``time.monotonic()``."""
    console.print(Text.assemble(f"{what:<28}", (f"{time.monotonic() - since:6.1f} s", "dim")))


@contextlib.contextmanager
def step(console: Console, doing: str, done: str) -> Iterator[None]:
    """Show that something is being done, and how long it took once it is."""
    started = time.monotonic()
    live = _is_live(console)
    if not live:
        console.print(f"{doing} ...")
    with console.status(Text(f"{doing} ..."), spinner="line") if live else contextlib.nullcontext():
        yield
    took(console, done, started)


class JobDisplay:
    """The progress of the jobs: a bar with what runs now, or a line now and then.

    Args:
        console: Where to.
        total: How many jobs there will be.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._started = self._last_line = time.monotonic()
        self._next_line = total // _LINES
        self._bar = Progress(
            BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        )
        self._task = self._bar.add_task("", total=total)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the display on the screen."""
        self._live: Live | None = None
        if not _is_live(self._console):
            yield
            return
        with Live(console=self._console, transient=True, auto_refresh=False) as self._live:
            yield
        self._live = None

    def update(self, now: Census) -> None:
        """Show where the jobs are."""
        if self._live is not None:
            self._bar.update(self._task, completed=now.finished, description=str(now))
            running = Text(plain("  ".join(now.running)), style="dim", no_wrap=True, overflow="ellipsis")
            self._live.update(Group(self._bar, running), refresh=True)
        elif now.finished >= self._next_line or time.monotonic() - self._last_line > _QUIET_SECONDS:
            self._console.print(f"  {now} ({time.monotonic() - self._started:.0f} s)")
            self._next_line = now.finished + max(1, self._total // _LINES)
            self._last_line = time.monotonic()


def _is_live(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal

"""A process that runs one job after another: what a job has changed in it does not reach the next.

What a module does when it is imported with the work stays, because the next job that uses the module does not import
it again. So the state to go back to is that after unpickling, and everything later is undone: what the inputs' loaders,
``run()``, ``extract()`` and the report have changed. Processes that the job has started, and theirs, are ended.

Not undone is what only its library knows, such as NumPy's error state or a default device, and threads: they cannot be
ended from outside. A process of its own for each job is the answer to those.
"""

from __future__ import annotations

import decimal
import faulthandler
import gc
import locale
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from checkmaite_core.child_processes import adopt_orphans, children, end_descendants

__all__ = ["KeptState", "process_kept"]

T = TypeVar("T")

_STREAMS = ("stdin", "stdout", "stderr", "excepthook", "unraisablehook", "displayhook")
_LISTS = ("argv", "path")
"""Not the import system's finders: a module adds its own when it is imported, also within a job, and needs it later."""
_SIGNALS = tuple(sorted(number for number in signal.valid_signals() if number < 32))
"""Those for real time are left alone: nobody uses them, and asking for each takes a microsecond."""
_TIMERS = ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")


class KeptState:
    """The state of this process that a job is to find, and to be put back after it.

    Saved when made; see :meth:`saved_after` for doing so later.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._children = children()
        adopt_orphans()
        self.save()

    def save(self) -> None:
        """From now on, this is the state to go back to."""
        self._undo: list[Callable[[], None]] = [
            _directory(),
            _variables(),
            _warnings(),
            _umask(),
            _interpreter(),
            _logging(),
            _numbers(),
            _signals(),
        ]

    def saved_after(self, loads: Callable[[bytes], T]) -> Callable[[bytes], T]:
        """The same function, after which the state is saved anew: what modules do when imported is to stay."""

        def load(data: bytes) -> T:
            try:
                return loads(data)
            finally:
                self.save()

        return load

    def restore(self) -> None:
        """Put back all that has changed. Never raises; what cannot be put back is said on standard error."""
        if os.getpid() != self._pid:
            return  # a fork that the job has made, and that has come back here
        failed: list[str] = []
        for undo in reversed(self._undo):
            try:
                undo()
            except Exception as error:  # the job has ended, and the rest is to be put back all the same
                failed.append(f"{type(error).__name__}: {error}")
        # Last: whoever had asked to be told of their end by a signal is not told any more.
        left = end_descendants(self._children)
        if left:
            failed.append(f"processes that cannot be ended: {left}")
        for said in failed:
            sys.stderr.write(f"checkmaite: a job left its process changed: {said}\n")


@contextmanager
def process_kept() -> Iterator[KeptState]:
    """After the block, this process is as it was when the state was last saved, at the block's beginning if never."""
    state = KeptState()
    try:
        yield state
    finally:
        state.restore()


def _directory() -> Callable[[], None]:
    try:
        before = os.getcwd()
    except FileNotFoundError:
        return lambda: None

    def undo() -> None:
        try:
            unchanged = os.getcwd() == before
        except FileNotFoundError:
            unchanged = False
        if not unchanged:
            os.chdir(before)

    return undo


def _variables() -> Callable[[], None]:
    before = dict(os.environ)

    def undo() -> None:
        now = dict(os.environ)
        if now == before:
            return
        for name in now.keys() - before.keys():
            del os.environ[name]
        for name, value in before.items():
            if now.get(name) != value:
                os.environ[name] = value

    return undo


def _warnings() -> Callable[[], None]:
    # Not catch_warnings(): what an import within the job adds to the *functions* of the module would be lost with it.
    filters, shown, formatted = list(warnings.filters), warnings.showwarning, warnings.formatwarning

    def undo() -> None:
        if list(warnings.filters) != filters:
            warnings.resetwarnings()  # also tells the registries of modules that filters have changed
            for one in filters:
                warnings.filters.append(one)  # type: ignore[attr-defined]
        warnings.showwarning, warnings.formatwarning = shown, formatted

    return undo


def _umask() -> Callable[[], None]:
    before = os.umask(0o077)
    os.umask(before)
    return lambda: _none(os.umask(before))


def _interpreter() -> Callable[[], None]:
    attributes = {name: getattr(sys, name) for name in _STREAMS}
    lists = {name: (getattr(sys, name), list(getattr(sys, name))) for name in _LISTS}
    hook, limit, collects = threading.excepthook, sys.getrecursionlimit(), gc.isenabled()
    timeout = socket.getdefaulttimeout()

    def undo() -> None:
        for name, value in attributes.items():
            setattr(sys, name, value)
        for name, (same, items) in lists.items():
            same[:] = items
            setattr(sys, name, same)
        threading.excepthook = hook
        sys.setrecursionlimit(limit)
        socket.setdefaulttimeout(timeout)
        (gc.enable if collects else gc.disable)()

    return undo


def _logging() -> Callable[[], None]:
    root = logging.getLogger()
    level, handlers, filters, disabled = root.level, list(root.handlers), list(root.filters), root.manager.disable
    captured = warnings.showwarning

    def undo() -> None:
        if root.level != level:
            root.setLevel(level)
        root.handlers[:] = handlers
        root.filters[:] = filters
        if root.manager.disable != disabled:
            logging.disable(disabled)
        if warnings.showwarning is not captured:
            logging.captureWarnings(capture=False)

    return undo


def _numbers() -> Callable[[], None]:
    """What decides how numbers are read, written and rounded."""
    place, context = locale.setlocale(locale.LC_ALL), decimal.getcontext().copy()

    def undo() -> None:
        if locale.setlocale(locale.LC_ALL) != place:
            locale.setlocale(locale.LC_ALL, place)
        decimal.setcontext(context)

    return undo


def _signals() -> Callable[[], None]:
    """Handlers of signals, and the timers that send them: an alarm of one job must not end another."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    timers = {name: signal.getitimer(getattr(signal, name))[0] for name in _TIMERS if hasattr(signal, name)}

    def undo() -> None:
        for name, left in timers.items():
            if not left:
                signal.setitimer(getattr(signal, name), 0)
        faulthandler.cancel_dump_traceback_later()
        for number, handler in handlers.items():
            # None: it was not set from Python, and Python cannot set it again.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    mask: Any = signal.pthread_sigmask(signal.SIG_BLOCK, ()) if hasattr(signal, "pthread_sigmask") else None
    return undo


def _none(_: object) -> None:
    return None

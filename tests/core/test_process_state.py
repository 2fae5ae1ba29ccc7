"""What a job changes in its process is undone after it; what its modules did when imported is not."""

from __future__ import annotations

import decimal
import gc
import locale
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import pytest

from checkmaite_core.process_state import process_kept


def _state() -> dict[str, object]:
    umask = os.umask(0o022)
    os.umask(umask)
    return {
        "cwd": os.getcwd(),
        "environ": dict(os.environ),
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "umask": umask,
        "argv": list(sys.argv),
        "path": list(sys.path),
        "stdout": sys.stdout,
        "excepthook": sys.excepthook,
        "thread hook": threading.excepthook,
        "recursion": sys.getrecursionlimit(),
        "gc": gc.isenabled(),
        "timeout": socket.getdefaulttimeout(),
        "level": logging.getLogger().level,
        "handlers": list(logging.getLogger().handlers),
        "disabled": logging.root.manager.disable,
        "locale": locale.setlocale(locale.LC_ALL),
        "precision": decimal.getcontext().prec,
        "usr1": signal.getsignal(signal.SIGUSR1),
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "alarm": signal.getitimer(signal.ITIMER_PROF)[0] > 0,
    }


CHANGES = {
    "cwd": "os.chdir('/')",
    "environ": "os.environ['LEFT'] = '1'; os.environ['HOME'] = '/elsewhere'; del os.environ['PATH']",
    "filters": "warnings.filterwarnings('ignore', message='left')",
    "showwarning": "logging.captureWarnings(True)",
    "umask": "os.umask(0o007)",
    "argv": "sys.argv.append('--left')",
    "path": "sys.path.insert(0, '/left')",
    "stdout": "import io; sys.stdout = io.StringIO()",
    "excepthook": "sys.excepthook = print",
    "thread hook": "threading.excepthook = print",
    "recursion": "sys.setrecursionlimit(3210)",
    "gc": "gc.disable()",
    "timeout": "socket.setdefaulttimeout(7)",
    "level": "logging.getLogger().setLevel(5)",
    "handlers": "logging.getLogger().addHandler(logging.NullHandler())",
    "disabled": "logging.disable(logging.ERROR)",
    "locale": "locale.setlocale(locale.LC_ALL, 'C.UTF-8' if locale.setlocale(locale.LC_ALL) == 'C' else 'C')",
    "precision": "decimal.getcontext().prec = 3",
    "usr1": "signal.signal(signal.SIGUSR1, print)",
    "mask": "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])",
    "alarm": "signal.setitimer(signal.ITIMER_PROF, 600)",
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_changed_in_the_block_is_put_back(what: str) -> None:
    before = _state()
    with process_kept():
        exec(CHANGES[what])
        assert _state()[what] != before[what]
    assert _state() == before


def test_every_change_at_once_is_put_back_also_after_an_exception() -> None:
    before = _state()
    with pytest.raises(KeyError), process_kept():  # noqa: PT012
        for change in CHANGES.values():
            exec(change)
        raise KeyError
    assert _state() == before


def test_what_loading_has_changed_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEFT", "before")  # so that it is put back

    def load(data: bytes) -> bytes:
        os.environ["LEFT"] = "by the import"
        return data

    with process_kept() as state:
        assert state.saved_after(load)(b"work") == b"work"
        os.environ["LEFT"] = "by the run"
    assert os.environ["LEFT"] == "by the import"


def test_a_directory_that_has_gone_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.delenv("LEFT", raising=False)
    with process_kept():
        os.environ["LEFT"] = "1"
        os.chdir("/")
        gone.rmdir()
    assert "LEFT" not in os.environ
    assert "a job left its process changed: FileNotFoundError" in capfd.readouterr().err


def test_filters_that_are_put_back_are_heeded_at_once() -> None:
    program = """
        import warnings
        from checkmaite_core.process_state import process_kept

        def warn():
            warnings.warn("careful", UserWarning)

        warnings.simplefilter("error")
        with process_kept():
            warnings.simplefilter("ignore")
            warn()
        try:
            warn()
        except UserWarning:
            print("raised")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "raised\n"


def test_it_costs_a_job_little() -> None:
    took = []
    for _ in range(50):
        begun = time.perf_counter()
        with process_kept() as state:
            state.saved_after(bytes)(b"")
        took.append(time.perf_counter() - begun)
    assert sorted(took)[len(took) // 2] < 0.005  # 0.2 ms on a quiet machine
